"""stdin, stdout and stderr by their numbers: where one was closed or is full."""

import os
import sys


def discard(descriptor: int, flags: int = os.O_WRONLY) -> None:
    """Point a descriptor at the null device, so that nothing is flushed into a closed pipe or a full disk."""
    null = os.open(os.devnull, flags)
    if null == descriptor:  # it was closed, and the lowest that was free
        os.set_inheritable(descriptor, True)
        return
    os.dup2(null, descriptor)
    os.close(null)


def replace_closed() -> None:
    """Give a stdout or stderr that the caller closed something to stand on, before a file takes its number.

    What is said on stderr then goes nowhere. What is written to stdout is wanted, and is an OSError.
    """
    if sys.stderr is None:
        discard(2)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 as long as the process
    if sys.stdout is None:
        discard(1, os.O_RDONLY)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
