"""A program that leads a group of its own (`start_new_session`), ended with all that it started."""

import os
import signal
import subprocess
import time
from contextlib import suppress

_POLL_SECONDS = 0.01


def has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether it has ended by itself. It is not waited for: until then no other can have its number."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end_group(process: "subprocess.Popen[bytes]", grace_seconds: float = 0.0) -> int | None:
    """End everything in a program's group, then wait for the program, which nobody has done yet.

    Args:
        process: leads its group.
        grace_seconds: for it to end by itself.

    Returns:
        its exit status, negative where a signal ended it; None: it did not end by itself.
    """
    deadline = time.monotonic() + grace_seconds
    while not has_ended(process) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    by_itself = has_ended(process)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    status = process.wait()
    return status if by_itself else None
