"""A command's exit status is the verdict."""

import os
import time
from pathlib import Path

import pytest

from llmkit.errors import MissingError, UsageError
from llmkit.workflows.eval.verify import Verdict, Verifier


def test_the_exit_status_is_the_verdict() -> None:
    assert Verifier('grep -q \'"completion": "4"\'', 30).judge({"completion": "4"}) == Verdict(True, 0)
    assert Verifier("exit 3", 30).judge({}) == Verdict(False, 3)
    assert Verifier("kill -9 $$", 30).judge({}) == Verdict(False, -9)


@pytest.mark.parametrize("status", [126, 127])
def test_what_a_model_wrote_cannot_end_the_run_with_the_status_of_a_shell(status: int) -> None:
    verifier = Verifier(f"if grep -q 4; then exit 0; else exit {status}; fi", 30)
    verifier.check()
    assert verifier.judge({"completion": "5"}) == Verdict(False, status)
    assert verifier.judge({"completion": "4"}) == Verdict(True, 0)


def test_a_command_is_looked_up_without_being_started(tmp_path: Path) -> None:
    program, ran = tmp_path / "verify", tmp_path / "ran"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    for command in (f"{program} --strict", "exit 127", "cd / && true", "(true)", "A=1 true", '"$HOME"; true'):
        Verifier(command, 30).check()
    assert not ran.exists()
    Verifier(str(program), 30).judge({})
    assert ran.exists()


def test_the_record_comes_as_one_line_of_json(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    assert Verifier(f"cat > {heard}", 30).judge({"completion": "é\n", "test": 1}).is_right
    assert heard.read_text() == '{"completion": "é\\n", "test": 1}\n'


def test_a_command_that_does_not_read_is_none_the_worse() -> None:
    assert Verifier("true", 30).judge({"completion": "x" * 1_000_000}).is_right


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    held = tmp_path / "held"
    os.mkfifo(held)
    with os.fdopen(os.open(held, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
        verifier = Verifier(f"sleep 60 > {held} & sleep 60", 0.2)
        assert verifier.judge({}) == Verdict(False, None)
        deadline = time.monotonic() + 20
        while pipe.read(1) is None:  # as long as a process has the other end
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_command_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    for command in ("no-such-program-here", "no-such-program-here -v", "./none|cat", str(tmp_path)):
        with pytest.raises(MissingError, match="cannot run"):
            Verifier(command, 30).check()
    (tmp_path / "plain").write_text("no program")
    with pytest.raises(MissingError, match=r"cannot run .*plain"):
        Verifier(f"{tmp_path}/plain x", 30).check()
    with pytest.raises(UsageError, match="no command"):
        Verifier(" ", 30)
    with pytest.raises(UsageError, match="no time"):
        Verifier("true", 0)
