"""Requests under way when a server's time is over: each ends with a word, not with its connection."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import anyio

from llmkit.server.errors import ApiError

T = TypeVar("T")


def draining() -> ApiError:
    """What a client is told of a server that is about to end."""
    return ApiError(503, "the server is about to end", code="draining", retry_after=1.0)


async def unless(work: Awaitable[T], other: Awaitable[Any], error: Exception) -> T:
    """What some work gives, unless something else happens first, which cancels it.

    Args:
        work: of a request.
        other: what may happen meanwhile; given up when the work is done.
        error: raised then.
    """
    working, happening = asyncio.ensure_future(work), asyncio.ensure_future(other)
    try:
        await asyncio.wait((working, happening), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise error
    finally:
        for one in (working, happening):
            one.cancel()
        with anyio.CancelScope(shield=True):  # starlette cancels a left stream in every turn of the loop:
            # handed on by `gather`, that would reach the work while it gives back what it holds
            await asyncio.gather(working, happening, return_exceptions=True)


def until_over(over: asyncio.Event, items: AsyncIterator[T]) -> AsyncGenerator[T]:
    """Items as they come, until an event is set.

    Raises:
        ApiError: it is: see `draining`.
    """
    return until(over.wait, items, draining())


async def until(
    other: Callable[[], Awaitable[Any]], items: AsyncIterator[T], error: Exception
) -> AsyncGenerator[T]:
    """Items as they come, until something else happens while the next one is waited for.

    Args:
        other: asked anew after each item, so that it may say how long one may take.
        items: of a stream.
        error: raised then.
    """

    async def following() -> T:
        return await anext(items)

    while True:
        try:
            item = await unless(following(), other(), error)
        except StopAsyncIteration:
            return
        yield item
