"""Programs with bounds, those that do not mean well among them."""

import os
import sys
import time
from pathlib import Path

import pytest

from llmkit.retrieve.tools.config import ToolError, ToolLimits
from llmkit.retrieve.tools.run import run_program

LIMITS = ToolLimits(seconds=20.0, output_bytes=4096)
SHORT = ToolLimits(seconds=0.3, output_bytes=4096)


def sh(script: str, given: bytes = b"", limits: ToolLimits = LIMITS) -> bytes:
    return run_program(["/bin/sh", "-c", script], given, limits)


def test_what_goes_in_comes_out_however_long_it_is() -> None:
    given = os.urandom(1 << 20)
    limits = ToolLimits(seconds=20.0, output_bytes=1 << 20)
    assert run_program(["cat"], given, limits) == given
    assert sh("printf done") == b"done"  # one that does not read its input
    assert sh("exec 0<&-; sleep 0.1; printf done", given) == b"done"


def test_endless_output_is_cut_off_at_its_limit_and_the_program_ended() -> None:
    for script in ("yes", "yes | cat", "while :; do echo x; done"):
        with pytest.raises(ToolError, match="more than 4,096 bytes"):
            sh(script)
    assert sh("head -c 100000 /dev/zero >&2; printf ok") == b"ok"  # stderr is not the result


def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    for script in (
        "sleep 600",
        f"sleep 600 & echo $! > {mark}; wait",
        "trap '' TERM INT; while :; do :; done",
    ):
        with pytest.raises(ToolError, match=r"no result within 0\.3 seconds"):
            sh(script, limits=SHORT)
    deadline = time.monotonic() + 5
    while _lives(int(mark.read_text())) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(int(mark.read_text()))


def test_what_a_program_leaves_running_does_not_hold_up_its_result() -> None:
    began = time.monotonic()
    assert sh("sleep 15 & printf done") == b"done"  # the sleep has the output open still
    assert time.monotonic() - began < 10


def test_a_failure_tells_its_status_and_the_last_line_of_stderr() -> None:
    with pytest.raises(ToolError, match=r"^failed with status 3: no such town$"):
        sh("echo first >&2; echo no such town >&2; exit 3")
    with pytest.raises(ToolError, match=r"^failed with signal 40$"):  # of real time: it has no name
        run_program(["sh", "-c", "kill -40 $$"], b"", ToolLimits(20.0, 100))
    with pytest.raises(ToolError, match=r"^failed with SIGSEGV$"):
        sh("kill -SEGV $$")
    with pytest.raises(ToolError, match="cannot be run: No such file"):
        run_program(["/nowhere/program"], b"", LIMITS)
    with pytest.raises(ToolError, match="cannot be run: Permission denied"):
        run_program([str(Path(__file__))], b"", LIMITS)


def test_a_program_has_no_terminal_and_no_shell_reads_its_arguments(tmp_path: Path) -> None:
    told = run_program(["printf", "%s", "$(touch x); `id`"], b"", LIMITS)
    assert told == b"$(touch x); `id`"
    code = "import os; print(os.getsid(0) == os.getpid())"
    assert run_program([sys.executable, "-S", "-c", code], b"", LIMITS) == b"True\n"


def _lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
