"""How errors become exit statuses. What every command keeps is in tests/cli/."""

import errno
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit import cli
from llmkit.errors import DataError, GateFailed
from llmkit.signals import Ending


@pytest.fixture
def raising(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run `llmkit completion bash` with a body that raises; its status and stderr."""

    def call(error: BaseException) -> tuple[int, str]:
        def body(*_: object) -> None:
            raise error

        monkeypatch.setattr("llmkit.commands.documentation.read_pages", body)
        status = cli.run(["completion", "bash"])
        return status, capfd.readouterr().err

    return call


def test_an_error_is_two_lines_and_its_own_status(raising) -> None:
    assert raising(DataError("a.jsonl:3: bad (found x)", hint="mend it")) == (
        3,
        "llmkit: error: a.jsonl:3: bad (found x)\n  hint: mend it\n",
    )
    assert raising(GateFailed("over", hint="shorten"))[0] == 1


@pytest.mark.parametrize(
    ("module", "status", "said"),
    [
        ("torch", 4, "llmkit: error: the package torch is not installed\n  hint: pip install torch\n"),
        ("torch._C", 4, "llmkit: error: the package torch is not installed\n  hint: pip install torch\n"),
        ("_sqlite3", 4, "llmkit: error: this Python was built without its module _sqlite3\n"),
        ("llmkit.nowhere", 70, "Traceback"),
    ],
)
def test_a_package_that_is_not_installed_is_named_and_one_of_our_own_is_a_bug(
    raising, module: str, status: int, said: str
) -> None:
    found, text = raising(ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert (found, text[: len(said)]) == (status, said)


def test_what_a_name_or_a_line_holds_reaches_no_terminal_as_a_command(raising) -> None:
    name = "a\x1b[2J\x85\n\udcff 東京\u3000.jsonl"  # a line of data, or a name of a stranger's file
    shown = r"a\x1b[2J\x85\n\xff 東京" + "\u3000.jsonl"
    assert raising(DataError(f"{name}:3: bad", hint=f"mend {name}")) == (
        3,
        f"llmkit: error: {shown}:3: bad\n  hint: mend {shown}\n",
    )
    assert raising(FileNotFoundError(errno.ENOENT, "No such file", name))[1].count("\n") == 2


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), 4),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "x"), 2),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 5),
        (OSError(errno.EFBIG, "File too large", "x"), 5),
        (OSError(errno.EIO, "Input/output error", "x"), 5),
        (MemoryError(), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_what_the_system_refuses_has_its_status_and_no_traceback(
    raising, error: BaseException, status: int
) -> None:
    found, text = raising(error)
    assert found == status
    assert "Traceback" not in text
    assert text.startswith("llmkit: ") and text.count("\n") == (1 if status == 130 else 2)


def test_a_bug_keeps_its_traceback_and_is_70(raising) -> None:
    status, text = raising(ZeroDivisionError("no"))
    assert status == 70 and "ZeroDivisionError: no" in text and "bug" in text


def test_ctrl_c_that_another_error_came_from_is_ctrl_c(raising) -> None:
    error = RuntimeError("unwound half-way")
    error.__context__ = ValueError("between")
    error.__context__.__context__ = KeyboardInterrupt("at step 3")
    said = "llmkit: interrupted while stopping: RuntimeError: unwound half-way\n"
    assert raising(error) == (130, said)
    error.__context__.__suppress_context__ = True  # raised from None: it says all that there is
    assert raising(error)[0] == 70


def test_what_complains_while_sigterm_unwinds_it_is_143_and_no_bug(raising) -> None:
    handler = Ending()
    handler.came = True
    before = signal.signal(signal.SIGTERM, handler)
    try:
        assert raising(AttributeError("half imported")) == (143, "")
        assert raising(DataError("broken", hint="mend it"))[0] == 3
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ctrl_c_while_the_command_is_imported_ends_it_without_a_word(signalled_at) -> None:
    line = [sys.executable, "-m", "llmkit", "--version"]
    done = subprocess.run(line, env=signalled_at("typer", signal.SIGINT), capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")
    ignoring = ["bash", "-c", f"trap '' INT; exec {' '.join(line)}"]  # as in the background
    done = subprocess.run(ignoring, env=signalled_at("typer", signal.SIGINT), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_ctrl_c_while_a_subcommand_is_imported_is_one_line(signalled_at) -> None:
    line = [sys.executable, "-m", "llmkit", "man", "pack"]
    environment = signalled_at("llmkit.commands.man.man", signal.SIGINT)
    done = subprocess.run(line, env=environment, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"llmkit: interrupted\n")


def test_the_installed_command_begins_where_ctrl_c_is_seen_to() -> None:
    settings = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert settings["project"]["scripts"] == {"llmkit": "llmkit.__main__:main"}


@pytest.mark.parametrize(
    ("given", "told"),
    [({}, "300"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
    ids=["nothing", "spins", "policy"],
)
def test_torch_threads_sleep_soon_unless_the_user_has_said_how_they_wait(
    given: dict[str, str], told: str
) -> None:
    unsaid = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    kept = {key: value for key, value in os.environ.items() if key not in unsaid}
    program = "import os, llmkit.__main__; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=kept | given, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{told}\n"


def test_a_program_that_imports_the_command_line_keeps_its_ctrl_c() -> None:
    program = "import signal, llmkit.cli; print(signal.getsignal(2) is signal.default_int_handler)"
    assert subprocess.check_output([sys.executable, "-c", program]) == b"True\n"


def test_a_reader_that_left_is_a_success_with_nothing_said() -> None:
    line = f"{sys.executable} -m llmkit tokenize --help | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.ENOSPC, "free some space"), (errno.EFBIG, "raise the limit on a file's size (ulimit -f)")],
)
def test_the_hint_is_what_makes_room(raising, number: int, hint: str) -> None:
    _, text = raising(OSError(number, "as the system says it", "x"))
    assert text.splitlines()[1] == f"  hint: {hint}; the previous output is untouched"


def test_a_full_disk_that_names_no_file_is_not_said_to_be_that_of_a_stdout_with_room(raising) -> None:
    status, text = raising(OSError(errno.ENOSPC, "No space left on device"))  # stdout is a file here
    assert status == 5 and text.startswith("llmkit: error: no space left on device\n")


def test_a_full_disk_behind_stdout_is_5() -> None:
    line = f"{sys.executable} -m llmkit tokenize --help > /dev/full"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == 5
    assert done.stderr.startswith(
        "llmkit: error: stdout: no space left on device\n  hint: free some space, or send it"
    )


def _shell(line: str, folder: Path) -> tuple[int, str, str]:
    """Status, stdout and stderr of a line in a shell, where $L is llmkit."""
    command = f"L='{sys.executable} -m llmkit'; {line}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=folder)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "line", ["$L --version", "$L clean a.jsonl", "$L show a.jsonl", "$L show a.jsonl --json"]
)
def test_what_is_written_to_a_closed_stdout_is_5(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "a", "text": "x"}\n')
    status, _, said = _shell(f"{line} >&-", tmp_path)
    assert status == 5 and said.startswith("llmkit: error: stdout: it is closed\n  hint: ")
    assert said.count("\n") == 2


def test_a_command_with_nothing_for_stdout_needs_none(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "a", "text": "x"}\n')
    assert _shell("$L clean a.jsonl -o b.jsonl -q >&- 2>&- <&-", tmp_path) == (0, "", "")
    assert (tmp_path / "b.jsonl").read_text() == '{"id": "a", "text": "x"}\n'


@pytest.mark.parametrize("to", ["2>&-", "2>/dev/full", "2>&- <&-"])
def test_an_error_that_nobody_can_be_told_keeps_its_status(tmp_path: Path, to: str) -> None:
    assert _shell(f"$L show nowhere {to}", tmp_path) == (4, "", "")
    assert _shell(f"$L shaw {to}", tmp_path) == (2, "", "")


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("to", ["> /dev/full", "-o /dev/full"])
def test_an_output_that_is_full_is_named(tmp_path: Path, to: str, buffered: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "a", "text": "x"}\n')
    line = f"{sys.executable} -m llmkit clean a.jsonl {to}"
    environment = {**os.environ, "PYTHONUNBUFFERED": buffered}
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, env=environment)
    name = "/dev/full" if "-o" in to else "stdout"
    assert done.returncode == 5
    assert done.stderr.startswith(f"llmkit: error: {name}: no space left on device\n  hint: ")


def test_no_arguments_is_help_on_stderr_and_2(llmkit_run) -> None:
    done = llmkit_run()
    assert (done.status, done.out) == (2, b"") and done.err.startswith("Usage: llmkit ")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("generate -m x once -n 20", "-n is --dry-run; how many tokens: --max-tokens 20"),
        ("generate -m x once upon 20 -n", "a text of several words, or a name with blanks, goes in quotes"),
        ("quantize a b -n 20", "a text of several words, or a name with blanks, goes in quotes"),
    ],
)
def test_a_word_too_many_is_told_what_it_was_probably_to_be(llmkit_run, line: str, hint: str) -> None:
    done = llmkit_run(*line.split())
    assert (done.status, done.out) == (2, b"")
    assert done.err.splitlines()[1] == f"  hint: {hint} (llmkit {line.split()[0]} --help)"


@pytest.mark.parametrize(
    ("line", "guess"),
    [
        ("tokenise x", "did you mean llmkit tokenize?"),
        ("bench tokenise x", "did you mean llmkit bench tokenize?"),
        ("completion bash --colour never", "did you mean --color?"),
        ("tokenize -t x --trunkate 5", "did you mean --truncate?"),
    ],
)
def test_an_unknown_word_names_the_nearest(llmkit_run, line: str, guess: str) -> None:
    done = llmkit_run(*line.split())
    assert done.status == 2 and done.out == b""
    assert done.err.startswith("llmkit: error: ") and guess in done.err and done.err.count("\n") == 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("pretrain shards --steps", "pretrain: option '--steps' requires an argument"),
        ("bench tokenize -t", "bench tokenize: option '-t' requires an argument"),
        ("eval ppl --json=3", "eval ppl: option '--json' does not take a value"),
        ("completion", "completion: missing argument 'shell': one of bash, zsh, fish"),
    ],
)
def test_an_option_without_its_value_is_of_its_command(llmkit_run, line: str, problem: str) -> None:
    done = llmkit_run(*line.split())
    command = problem.split(":")[0]
    assert (done.status, done.err) == (2, f"llmkit: error: {problem}\n  hint: llmkit {command} --help\n")


def test_sigterm_ends_with_143() -> None:
    program = (
        "import llmkit.cli as c, time; c.run = lambda _: print('up', flush=True) or time.sleep(30); c.main()"
    )
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert running.stdout is not None and running.stdout.readline() == b"up\n"
    running.send_signal(signal.SIGTERM)
    assert running.wait(10) == 143
    running.stdout.close()


@pytest.mark.parametrize("where", ["finally", "atexit"])
def test_a_second_sigterm_cuts_into_nothing_that_the_first_unwinds(where: str) -> None:
    again = "os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.1); print('whole', flush=True)"
    program = f"""if True:
        import atexit, os, signal, time, llmkit.cli as cli
        def leave(): {again}
        def work(_):
            if {where == "atexit"}: atexit.register(leave)
            try: os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)
            finally: leave()
        cli.run = work
        cli.main()"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (143, b"")
    assert done.stdout == b"whole\n" * (2 if where == "atexit" else 1)


def test_the_help_of_llmkit_is_the_table(llmkit_run) -> None:
    done = llmkit_run("--help")
    assert done.status == 0 and done.err == ""
    for name, line in cli.COMMANDS.items():
        assert f"  {name} " in done.text and line in done.text
