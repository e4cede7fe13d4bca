"""One call at a time, for what cannot serve two: a database's connection, a program's stdin."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from llmkit.retrieve.tools.config import ToolError
from llmkit.retrieve.tools.leave import POLL_SECONDS, check_awaited


class Alone:
    """Lets calls in one after the other; a server makes them from several threads."""

    def __init__(self, seconds: float) -> None:
        """seconds: that a call may wait for those before it."""
        self._lock = threading.Lock()
        self._seconds = seconds

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A call's turn.

        Raises:
            ToolError: it did not come, or nobody waits any more.
        """
        deadline = time.monotonic() + self._seconds
        while not self._lock.acquire(timeout=POLL_SECONDS):
            check_awaited()
            if time.monotonic() > deadline:
                raise ToolError(f"busy with other calls for {self._seconds:g} seconds")
        try:
            yield
        finally:
            self._lock.release()
