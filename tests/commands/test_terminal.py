"""How wide a report is: a real terminal's own columns within reason, 80 where there is none."""

import fcntl
import os
import struct
import sys
import termios
from collections.abc import Callable, Iterator

import pytest

from llmkit.commands.terminal import text_width

Resize = Callable[[int], None]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resize]:
    """Call it to have a pseudo-terminal of so many columns as stdout."""
    main, side = os.openpty()
    stdout = os.fdopen(side, "w")
    monkeypatch.delenv("COLUMNS", raising=False)

    def resize(columns: int) -> None:
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "__stdout__", stdout)  # where the standard library asks for the size

    yield resize
    stdout.close()
    os.close(main)


@pytest.mark.parametrize(("columns", "width"), [(10, 40), (40, 40), (97, 97), (110, 110), (300, 110)])
def test_a_terminals_columns_count_between_40_and_110(terminal: Resize, columns: int, width: int) -> None:
    terminal(columns)
    assert text_width() == width


def test_a_terminal_that_does_not_know_its_size_gets_80_columns(terminal: Resize) -> None:
    terminal(0)
    assert text_width() == 80


def test_columns_in_the_environment_come_before_the_terminals(
    terminal: Resize, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal(97)
    monkeypatch.setenv("COLUMNS", "63")
    assert text_width() == 63


def test_a_pipe_and_no_stdout_get_80_columns_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    read, write = os.pipe()
    with os.fdopen(write, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert text_width() == 80
    os.close(read)
    monkeypatch.setattr(sys, "stdout", None)
    assert text_width() == 80
