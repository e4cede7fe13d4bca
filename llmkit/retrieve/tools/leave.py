"""Whether anybody still waits for the tool that runs in this thread.

Who lets tools run (a server, whose clients leave) says so with `until`; what runs asks now and then.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from llmkit.retrieve.tools.config import ToolError

POLL_SECONDS = 0.05
"""Between two looks, for what otherwise would only wait."""
_over: ContextVar[threading.Event | None] = ContextVar("over", default=None)


@contextmanager
def until(over: threading.Event) -> Iterator[None]:
    """Tools that run in this thread, here, end when this is set."""
    token = _over.set(over)
    try:
        yield
    finally:
        _over.reset(token)


def is_over() -> bool:
    """Whether nobody waits any more."""
    over = _over.get()
    return over is not None and over.is_set()


def check_awaited() -> None:
    """Go on only where somebody waits.

    Raises:
        ToolError: nobody does.
    """
    if is_over():
        raise ToolError("nobody waits for the result any more")
