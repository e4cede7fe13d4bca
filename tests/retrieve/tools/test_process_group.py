"""Programs are ended with all that they started, and tell how they ended."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from llmkit.retrieve.tools.process_group import end_group, has_ended


def start(script: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True)


@pytest.mark.parametrize(("script", "status"), [("exit 3", 3), ("kill -TERM $$", -signal.SIGTERM)])
def test_one_that_ends_within_its_grace_tells_its_status(script: str, status: int) -> None:
    assert end_group(start(f"sleep 0.05; {script}"), 20.0) == status


def test_one_that_does_not_end_is_ended_and_tells_none() -> None:
    process = start("trap '' TERM INT; sleep 600")
    assert not has_ended(process)
    assert end_group(process) is None
    assert process.returncode == -signal.SIGKILL


def test_what_it_left_running_is_ended_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    assert end_group(start(f"sleep 600 & echo $! > {mark}"), 20.0) == 0
    left = int(mark.read_text())
    deadline = time.monotonic() + 5
    while _lives(left) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(left)


def _lives(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
