"""The same work for each of many things, a few of them at once."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


async def each(work: Callable[[S], Coroutine[Any, Any, T]], given: Sequence[S], *, at_once: int) -> list[T]:
    """What some work gives of each, in their order. Where one fails, the others are given up.

    Args:
        work: for one of them.
        given: all of them.
        at_once: how many are worked on at the same time.
    """
    places = asyncio.Semaphore(at_once)

    async def done(one: S) -> T:
        async with places:
            return await work(one)

    tasks = [asyncio.ensure_future(done(one)) for one in given]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
