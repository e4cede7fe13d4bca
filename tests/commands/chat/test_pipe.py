"""Turns from a pipe: what is written, and when."""

import io
import sys
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmkit.commands.chat.pipe import chat_lines
from llmkit.commands.console import Console
from llmkit.errors import UsageError


class Parrot:
    """A session that repeats what it hears, a letter at a time."""

    def __init__(self) -> None:
        self.saves = 0
        self.last: Any = SimpleNamespace(dropped_turns=0)

    def say(self, text: str) -> Generator[str]:
        for letter in text:
            if letter == "!":
                raise UsageError("too loud", hint="softer")
            yield "" if letter == "_" else letter

    def save(self) -> None:
        self.saves += 1


def _chat(
    lines: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chat: Parrot, flush: bool = False
) -> Any:
    flushed: list[bytes] = []

    class Out(io.BytesIO):
        def flush(self) -> None:
            flushed.append(self.getvalue())

    out = Out()
    file = tmp_path / "turns"
    file.write_bytes(lines)
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
    try:
        chat_lines(chat, file, Console(), as_json=False, flush=flush)  # type: ignore[arg-type]
    finally:
        monkeypatch.undo()
    return out.getvalue(), flushed


def test_each_reply_is_let_out_when_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = Parrot()
    written, flushed = _chat(b"ab\n\n/c\n__\n", tmp_path, monkeypatch, chat)
    assert written == b"ab\n/c\n\n"  # an empty line passed over, an empty reply is an empty line
    assert flushed == [b"ab\n", b"ab\n/c\n", b"ab\n/c\n\n"] and chat.saves == 1


def test_unbuffered_lets_out_each_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _chat(b"ab\n", tmp_path, monkeypatch, Parrot(), flush=True)[1] == [b"a", b"ab", b"ab\n"]


def test_a_reply_that_breaks_off_ends_its_line_and_the_transcript_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    chat = Parrot()
    with pytest.raises(UsageError, match="too loud"):
        _chat(b"ab!\n", tmp_path, monkeypatch, chat)
    assert chat.saves == 1
