"""Processes of a run that are stopped while others go on, which would wait for them for half an hour."""

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from llmkit.machine import child_pids, is_stopped

STOPPED_SECONDS = 60.0
"""How long a process may be stopped: more than a debugger's look at it takes."""
_LOOK_SECONDS = 0.5


@contextmanager
def stopped_are_ended() -> Iterator[set[int]]:
    """Kill children of the main thread that are stopped, as by SIGSTOP, for long while others go on.

    Where all are stopped, somebody holds the run, and it stays. Time is counted in looks: what stops this
    process too (Ctrl-Z, a scheduler that suspends a job) stops the count.

    Returns:
        Numbers of the processes that were killed, so far.
    """
    killed: set[int] = set()
    is_over = threading.Event()
    thread = threading.Thread(target=_watch, args=(is_over, killed), daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        is_over.set()
        thread.join()


def _watch(is_over: threading.Event, killed: set[int]) -> None:
    looks: Counter[int] = Counter()
    while not is_over.wait(_LOOK_SECONDS):
        children = child_pids()
        stopped = [pid for pid in children if is_stopped(pid)]
        if len(stopped) == len(children):
            stopped = []
        looks = Counter({pid: looks[pid] + 1 for pid in stopped})
        for pid in stopped:
            if looks[pid] * _LOOK_SECONDS >= STOPPED_SECONDS:
                killed.add(pid)
                with contextlib.suppress(ProcessLookupError):  # somebody else has ended it meanwhile
                    os.kill(pid, signal.SIGKILL)
