"""A fork of the zygote beside a real process: the same line, the same end."""

import os
import signal

import pytest
from workbench import REAL, Workbench

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
