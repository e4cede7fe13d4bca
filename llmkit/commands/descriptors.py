"""stdin, stdout and stderr by their numbers: where one was closed or is full."""

import io
import os
import sys
from typing import Any


def discard(descriptor: int, flags: int = os.O_WRONLY) -> None:
    """Point a descriptor at the null device, so that nothing is flushed into a closed pipe or a full disk."""
    null = os.open(os.devnull, flags)
    if null == descriptor:  # it was closed, and the lowest that was free
        os.set_inheritable(descriptor, True)
        return
    os.dup2(null, descriptor)
    os.close(null)


def prepare() -> None:
    """Let nothing that happens to stderr end the work; a closed stdout is an error once it is written to.

    What is said on a stderr that is closed or full, or whose reader left, goes nowhere. What is closed is
    given something to stand on, before a file takes its number. Both are UTF-8 whatever the locale, and a
    file's name on stdout is the bytes it has.
    """
    if sys.stderr is None:
        discard(2)
    said = io.BufferedWriter(_Said(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(said, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    if sys.stdout is None:
        discard(1, os.O_RDONLY)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 as long as the process
    elif isinstance(sys.stdout, io.TextIOWrapper):
        if isinstance(sys.stdout.buffer, io.FileIO):  # python -u, PYTHONUNBUFFERED
            whole = _AtOnce(io.FileIO(sys.stdout.fileno(), "w", closefd=False))
            sys.stdout = io.TextIOWrapper(whole, write_through=True)
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")


class _AtOnce(io.BufferedWriter):
    """A stream that keeps nothing waiting, and takes all: of a raw one nobody hears that it took a part."""

    def write(self, content: Any, /) -> int:
        count = super().write(content)
        self.flush()
        return count


class _Said(io.FileIO):
    """stderr, which nothing depends on."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError:
            discard(2)
            return super().write(content)
