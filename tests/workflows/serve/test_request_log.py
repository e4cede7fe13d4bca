"""Requests are told as lines of a file, and go on where it takes none."""

import errno
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from llmkit.workflows.serve.request_log import request_log


def test_records_are_lines_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for number in (1, 2):
        with request_log(log) as tell:
            tell({"n": number})
    assert [msgspec.json.decode(line)["n"] for line in log.read_bytes().splitlines()] == [1, 2]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no file here that is always full")
def test_a_full_disk_breaks_no_request_and_no_end_of_a_server(caplog: pytest.LogCaptureFixture) -> None:
    with request_log(Path("/dev/full")) as tell:
        tell({"n": 1})
    assert "/dev/full: requests cannot be logged (no space left on device)\n  hint: " in caplog.text


def test_that_nothing_can_be_logged_is_told_once_and_that_it_is_again_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(io.BytesIO):
        is_full = True

        def flush(self) -> None:
            if self.is_full:
                raise OSError(errno.ENOSPC, "No space left on device")

    full: Any = Full()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=full))
    with request_log(Path("-")) as tell:
        for number in range(3):
            tell({"n": number})
        assert [one.levelname for one in caplog.records] == ["ERROR"]
        full.is_full = False
        for number in range(3, 5):
            tell({"n": number})
    assert [one.getMessage() for one in caplog.records[1:]] == ["stdout: requests are logged again"]
