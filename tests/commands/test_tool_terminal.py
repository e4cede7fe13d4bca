"""A person at a terminal decides; what is shown cannot command the terminal."""

import io
import os
import pty
from collections.abc import Iterator
from typing import IO, cast

import pytest

from llmkit.commands.console import Console
from llmkit.commands.tool_terminal import approval_at, told_at
from llmkit.retrieve.tools.loop import Called


@pytest.fixture
def person() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The two ends of a terminal: what the program has, and what a person sees and types at."""
    outer, inner = pty.openpty()
    with os.fdopen(inner, "r+b", buffering=0) as terminal, os.fdopen(outer, "r+b", buffering=0) as keys:
        yield terminal, keys


def test_yes_no_and_always_are_what_they_say(person: tuple[IO[bytes], IO[bytes]]) -> None:
    terminal, keys = person
    approve = approval_at(terminal)
    for typed, answer in ((b"y\n", True), (b"n\n", False), (b"\n", False), (b"what\nYES\n", True)):
        keys.write(typed)
        assert approve("f", {"a": 1}) is answer
    keys.write(b"a\n")
    assert approve("f", {"a": 1})
    assert approve("f", {"a": 2})  # nothing was typed
    keys.write(b"n\n")
    assert not approve("g", {})  # always is for one function
    shown = os.read(keys.fileno(), 10_000).decode()
    assert 'call f({"a": 1})? [y]es, [n]o, [a]lways f: ' in shown and '"a": 2' not in shown


def test_the_end_of_the_terminal_is_no() -> None:
    class Gone:
        def write(self, content: bytes) -> int:
            return len(content)

        def readline(self) -> bytes:
            return b""

    assert not approval_at(cast(IO[bytes], Gone()))("f", {})


def test_neither_arguments_nor_results_can_command_the_terminal(
    person: tuple[IO[bytes], IO[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal, keys = person
    keys.write(b"n\n")
    approval_at(terminal)("f", {"a": "\x1b[2J\u202e\r"})
    shown = b""
    while b"u202e" not in shown:  # what was typed comes back first
        shown += os.read(keys.fileno(), 10_000)
    assert b"\x1b" not in shown and rb"\u001b[2J\u202e\r" in shown
    told_at(Console())(Called("f\x1b", '{"a": "\x1b"}', "x\x1b[2J\n" + "y" * 5_000, failed=False))
    told = capsys.readouterr().err
    assert "\x1b" not in told and "characters)" in told and len(told) < 1_000


def test_a_call_of_great_length_says_how_long_it_is() -> None:
    terminal = io.BytesIO()
    approval_at(terminal)("f", {"a": "x" * 5_000})
    assert b"(5,011 characters)" in terminal.getvalue() or b"characters)" in terminal.getvalue()
