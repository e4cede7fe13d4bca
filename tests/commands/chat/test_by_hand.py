"""By hand, without a terminal: what a line does. test_chat.py does it at a real terminal."""

import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmkit.commands.chat.by_hand import chat_by_hand
from llmkit.commands.console import Console
from llmkit.errors import DataError, UsageError


class Slow:
    """A session whose replies never end by themselves."""

    def __init__(self) -> None:
        self.used, self.limit, self.saves, self.pieces = 0, 9, 0, 0
        self.last = SimpleNamespace(dropped_turns=1)
        self.conversation = SimpleNamespace(last_said="")

    def say(self, text: str) -> Generator[str]:
        if text == "wrong":
            raise UsageError("no such word", hint="another")
        while True:
            self.pieces += 1
            if self.pieces == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield "a"

    def save(self) -> None:
        self.saves += 1


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def type_lines(*lines: str) -> None:
        left = [f"{line}\n" for line in lines]
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(readline=lambda: left.pop(0) if left else ""))

    return type_lines


def test_ctrl_c_ends_a_reply_after_the_piece_at_hand_and_nothing_else(
    typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    chat, before = Slow(), signal.getsignal(signal.SIGINT)
    typed("hello", "/nonsense")
    chat_by_hand(chat, Console())  # type: ignore[arg-type]
    out, err = capsys.readouterr()
    assert out == "aaa\n" and chat.saves == 1
    assert "stopped\nthe context is full: 1 turn dropped" in err and "no command /nonsense" in err
    assert signal.getsignal(signal.SIGINT) is before


def test_no_hint_names_a_flag_that_chat_has_not(typed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    chat = Slow()

    def load(path: Path) -> None:
        raise DataError("not JSON", hint="mend the line, or pass over bad lines with --skip-bad")

    chat.load = load  # type: ignore[attr-defined]
    typed("/load talk.jsonl")
    chat_by_hand(chat, Console(quiet=True))  # type: ignore[arg-type]
    assert "not JSON\n  hint: mend the line\n" in capsys.readouterr().err


def test_an_error_is_said_in_two_lines_and_the_session_goes_on(
    typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("wrong", "", "caf\udce9", "/quit", "never read")
    chat_by_hand(Slow(), Console(quiet=True))  # type: ignore[arg-type]
    out, err = capsys.readouterr()
    asked = "[0 of 9] > "
    first, second = (
        "no such word\n  hint: another\n",
        "that was not UTF-8\n  hint: set the terminal to UTF-8\n",
    )
    assert out == "" and err == f"{asked}{first}{asked}{asked}{second}{asked}"


@pytest.mark.parametrize("last", ["/quit", "/exit", "/bye"])
def test_commands_go_by_the_names_that_they_have_elsewhere_too(
    typed: Any, capsys: pytest.CaptureFixture[str], last: str
) -> None:
    chat, resets = Slow(), []
    chat.reset = lambda: resets.append("/clear")  # type: ignore[attr-defined]
    typed("/clear", last, "never read")
    chat_by_hand(chat, Console())  # type: ignore[arg-type]
    err = capsys.readouterr().err
    assert resets == ["/clear"] and "a new conversation" in err and "no command" not in err
    assert err.count("] > ") == 2  # it asks no third time


def test_an_adapter_is_named_by_hand(typed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    chat, used = Slow(), []

    def use(name: str) -> None:
        used.append(name)
        chat.adapter = None if name == "off" else name  # type: ignore[attr-defined]

    chat.use, chat.adapters = use, ("sql",)  # type: ignore[attr-defined]
    typed("/adapter sql", "/adapter off", "/adapter")
    chat_by_hand(chat, Console())  # type: ignore[arg-type]
    err = capsys.readouterr().err
    assert used == ["sql", "off"]
    assert "replies by sql\n" in err and "replies by the model alone\n" in err
    assert "/adapter needs a name (loaded: sql)" in err
