"""What the router's event loop says nothing of: a result for somebody who has stopped waiting."""

import asyncio
from typing import Any


def ignore_late_results(loop: asyncio.AbstractEventLoop) -> None:
    """Let `future.set_result` pass where the future is over; all other faults are told as before.

    anyio, through which httpx speaks with workers, has the loop call it when a Unix socket can be read. Where
    a request is given up in the turn in which its worker's end is read, asyncio would print a traceback of
    anyio's, though nothing is lost.

    Args:
        loop: whose handler of exceptions this becomes.
    """
    loop.set_exception_handler(_handle)


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    is_late = isinstance(context.get("exception"), asyncio.InvalidStateError)
    if not (is_late and "Future.set_result(" in context["message"]):
        loop.default_exception_handler(context)
