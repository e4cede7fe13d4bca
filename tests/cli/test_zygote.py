"""A fork of the zygote beside a real process: the same line, the same end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from workbench import REAL, Workbench
from zygote import EXECUTABLE

SLOW = "llmkit tokenize -t tok --jsonl big.jsonl -o out --force --log-every 0.1"


@pytest.mark.parametrize(
    "line",
    [
        "llmkit --version",
        "llmkit no-such-command",
        "llmkit tokenize -t tok nowhere",
        "llmkit tokenize -t tok --ids docs.jsonl | head -n 1",
        "cat docs.jsonl | llmkit tokenize -t tok --ids | md5sum",
        "llmkit show run --tensors > /dev/full",
        "llmkit man pack >&-",
        "llmkit show - <&-",
        "cd tok && llmkit show . --json",
        "llmkit tokenize -t tok --view --text hello",
        "FORCE_COLOR=1 llmkit tokenize -t tok --view --text hello",
        "script -qec 'llmkit tokenize -t tok --view --text hello -q' /dev/null",
        "llmkit generate -m run 'def main' --max-tokens 8 --seed 1 -q",
        "(ulimit -f 4; llmkit man pack > page); wc -c < page",
        "(umask 77; llmkit man --all -o pages -q); stat -c %a pages/*",
    ],
)
def test_a_line_ends_as_in_a_real_process(copy: Workbench, line: str) -> None:
    forked = copy.run(line)
    for name in ("page", "pages"):
        copy.run(f"rm -rf {name}")
    assert copy.run(line, **REAL) == forked


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_as_it_ends_a_real_process(copy: Workbench, number: int, status: int) -> None:
    (copy.folder / "big.jsonl").write_bytes((copy.folder / "docs.jsonl").read_bytes() * 2000)
    for environment in ({}, REAL):
        running = copy.start(f"exec {SLOW}", **environment)
        assert running.stderr is not None and running.stderr.readline()
        os.killpg(running.pid, number)
        running.communicate(timeout=60)
        assert running.returncode == status
        assert not (copy.folder / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["-c", "import os, sys; print(sys.argv, sys.path[0], __name__, os.getcwd()); sys.exit(3)", "a", "-b"],
        ["-c", "class One: pass\nprint(One.__module__, sys)", "no sys here"],
        ["-c", "raise SystemExit('said')"],
        ["-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"],
        ["-c", "import os; os.write(FILE, b'by its number')"],
        ["-m", "llmkit", "show", "nowhere"],
        ["-m", "program", "a"],
        ["-S", "-c", "import sys; print(sys.flags.no_site)"],
    ],
)
def test_a_program_ends_as_in_a_real_process(forked_python: Path, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "program.py").write_text("import sys\nprint(sys.argv, sys.path[0], __name__)\n")
    ends = []
    for python in (forked_python, sys.executable):
        read, write = os.pipe()
        line = [str(python), *(word.replace("FILE", str(write)) for word in words)]
        done = subprocess.run(line, cwd=tmp_path, pass_fds=[write], capture_output=True, text=True)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            said = done.stderr.replace(str(forked_python), sys.executable).splitlines()[-1:]
            ends.append((done.returncode, done.stdout, said, pipe.read()))
    assert ends[0] == ends[1]


def test_a_program_has_all_of_llmkit_at_once_and_a_fork_can_start_forks(forked_python: Path) -> None:
    has = "import sys; print('llmkit.train.trainer' in sys.modules)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {has!r}])"
    environment = {**os.environ, EXECUTABLE: str(forked_python)}
    for program in (has, start):
        line = [str(forked_python), "-c", program]
        assert subprocess.check_output(line, env=environment, text=True) == "True\n"


def test_what_torch_sets_when_it_compiles_leaves_a_line_a_fork(
    forked_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    from torch._inductor.runtime.cache_dir_utils import (
        cache_dir,
    )  # it writes the variable where there is none

    program = (
        "import sys; print('llmkit.train.trainer' in sys.modules)\n"
        "from torch._inductor.runtime.cache_dir_utils import cache_dir; print(cache_dir())"
    )
    done = subprocess.check_output([str(forked_python), "-c", program], text=True)
    assert done == f"True\n{cache_dir()}\n" and cache_dir() == str(tmp_path)


def test_a_fork_ends_with_a_client_that_is_killed(copy: Workbench) -> None:
    os.mkfifo(copy.folder / "fifo")
    running = copy.start("exec llmkit show - < fifo")
    with (copy.folder / "fifo").open("wb", buffering=0) as pipe:  # opens when bash has opened the other end
        pipe.write(b"\n" * 200_000)  # more than a pipe holds: the fork reads
        running.kill()
        running.communicate()
        with pytest.raises(BrokenPipeError):
            for _ in range(1_000):
                pipe.write(b"\n" * 100_000)


def test_forks_side_by_side_do_not_meet(copy: Workbench) -> None:
    lines = [f"llmkit train-tokenizer corpus.txt --vocab-size {300 + n} -o t{n} -q & " for n in range(4)]
    assert copy.run("".join(lines) + "wait").status == 0
    sizes = [copy.run(f"llmkit show t{n} --json | jq .vocab_size").out for n in range(4)]
    assert sizes == [b"300\n", b"301\n", b"302\n", b"303\n"]
