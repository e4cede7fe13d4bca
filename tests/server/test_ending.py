"""What is under way ends with a word when the time is over, and what is given up is told so."""

import asyncio
from collections.abc import AsyncGenerator

import anyio
import pytest

from llmkit.server.ending import draining, unless, until_over
from llmkit.server.errors import ApiError


async def numbers(given_up: list[bool]) -> AsyncGenerator[int]:
    try:
        yield 1
        yield 2
        await asyncio.Event().wait()
    finally:
        given_up.append(True)


def test_the_work_of_a_request_is_given_up_when_something_else_happens_first() -> None:
    given_up: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.append("work")

    async def go() -> None:
        with pytest.raises(ApiError) as caught:
            await unless(work(), asyncio.sleep(0), draining())
        assert (caught.value.status, caught.value.code) == (503, "draining") and given_up == ["work"]
        assert await unless(asyncio.sleep(0, "done"), asyncio.Event().wait(), draining()) == "done"
        with pytest.raises(ZeroDivisionError):
            await unless(fails(), asyncio.Event().wait(), draining())

    async def fails() -> None:
        raise ZeroDivisionError

    asyncio.run(go())


def test_work_that_is_given_up_gives_back_what_it_holds_though_it_is_cancelled_again_and_again() -> None:
    given_back: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):  # as a connection takes turns of the loop to close
                await asyncio.sleep(0)
            given_back.append(True)

    async def go() -> None:
        with anyio.CancelScope() as scope:  # as starlette has around a stream, whose client leaves
            asyncio.get_running_loop().call_later(0.01, scope.cancel)
            await unless(work(), asyncio.Event().wait(), draining())

    asyncio.run(go())
    assert given_back == [True]


def test_items_come_until_the_time_is_over_and_their_source_is_given_up() -> None:
    given_up: list[bool] = []
    found = []

    async def go() -> None:
        over = asyncio.Event()
        with pytest.raises(ApiError, match="about to end"):
            async for one in until_over(over, numbers(given_up)):
                found.append(one)
                if one == 2:
                    asyncio.get_running_loop().call_soon(over.set)

    asyncio.run(go())
    assert found == [1, 2] and given_up == [True]


def test_items_that_end_by_themselves_are_all_there() -> None:
    async def two() -> AsyncGenerator[int]:
        yield 1
        yield 2

    async def go() -> list[int]:
        return [one async for one in until_over(asyncio.Event(), two())]

    assert asyncio.run(go()) == [1, 2]
