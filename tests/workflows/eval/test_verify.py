"""A command's exit status is the verdict."""

import time
from pathlib import Path

import pytest

from llmkit.errors import MissingError, UsageError
from llmkit.workflows.eval.verify import Verdict, Verifier


def test_the_exit_status_is_the_verdict() -> None:
    assert Verifier('grep -q \'"completion": "4"\'', 30).judge({"completion": "4"}) == Verdict(True, 0)
    assert Verifier("exit 3", 30).judge({}) == Verdict(False, 3)
    assert Verifier("kill -9 $$", 30).judge({}) == Verdict(False, -9)


def test_the_record_comes_as_one_line_of_json(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    assert Verifier(f"cat > {heard}", 30).judge({"completion": "é\n", "test": 1}).is_right
    assert heard.read_text() == '{"completion": "é\\n", "test": 1}\n'


def test_a_command_that_does_not_read_is_none_the_worse() -> None:
    assert Verifier("true", 30).judge({"completion": "x" * 1_000_000}).is_right


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    late = tmp_path / "late"
    verifier = Verifier(f"(sleep 1.5; touch {late}) & sleep 60", 0.2)
    assert verifier.judge({}) == Verdict(False, None)
    time.sleep(1.8)
    assert not late.exists()


def test_a_command_that_is_not_there_is_an_error() -> None:
    with pytest.raises(MissingError, match="status 127"):
        Verifier("no-such-program-here", 30).judge({})
    with pytest.raises(UsageError, match="no command"):
        Verifier(" ", 30)
    with pytest.raises(UsageError, match="no time"):
        Verifier("true", 0)
