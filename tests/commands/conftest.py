"""A terminal of any width as stdout."""

import fcntl
import os
import struct
import sys
import termios
from collections.abc import Callable, Iterator

import pytest

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
