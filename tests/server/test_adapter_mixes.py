"""Mixes of adapters are made once, kept while they are asked for, and never too many."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.server.adapter_mixes import MOST_MIXES, Mixes
from llmkit.server.errors import ApiError


class FakeAdapters:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.had: list[str] = []
        self.made = 0
        self.error: Exception | None = None

    async def mix(self, called: str, parts: Any) -> None:
        await asyncio.sleep(0.001)
        if self.error is not None:
            raise self.error
        self.made += 1
        self.had.append(called)

    async def unload(self, called: str) -> None:
        self.had.remove(called)


def made() -> tuple[FakeAdapters, Mixes]:
    fake = FakeAdapters()
    return fake, Mixes(fake)  # type: ignore[arg-type]


async def settled() -> None:
    await asyncio.sleep(0.01)


def test_requests_that_ask_for_the_same_mix_share_it_and_the_next_one_finds_it() -> None:
    async def go() -> None:
        fake, mixes = made()

        async def one() -> str:
            async with mixes.held((("a", 0.5),)) as called:
                await asyncio.sleep(0.002)
                return called

        names = await asyncio.gather(one(), one(), one())
        assert {*names, await one()} == {names[0]} and fake.made == 1

    asyncio.run(go())


def test_the_one_that_was_used_longest_ago_makes_room_and_none_that_is_in_use() -> None:
    async def go() -> None:
        fake, mixes = made()
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(mixes.held((("a", 0.0),)))
            for number in range(1, MOST_MIXES + 1):
                async with mixes.held((("a", float(number)),)):
                    pass
            await settled()
            assert len(fake.had) == MOST_MIXES and first in fake.had
            for number in range(1, MOST_MIXES):
                await stack.enter_async_context(mixes.held((("a", -float(number)),)))
            with pytest.raises(ApiError) as refused:
                await stack.enter_async_context(mixes.held((("a", 99.0),)))
            assert (refused.value.status, refused.value.code) == (503, "overloaded")
        async with mixes.held((("a", 99.0),)):
            await settled()
            assert len(fake.had) == MOST_MIXES

    asyncio.run(go())


def test_a_mix_of_an_adapter_that_leaves_ends_with_its_last_user() -> None:
    async def go() -> None:
        fake, mixes = made()
        async with mixes.held((("b", 1.0), ("c", 1.0))):
            pass
        async with mixes.held((("a", 1.0), ("b", 1.0))) as called:
            mixes.forget("a")
            await settled()
            assert called in fake.had
            async with mixes.held((("a", 1.0), ("b", 1.0))) as other:
                assert other != called
            mixes.forget("a")
        await settled()
        assert len(fake.had) == 1  # of b and c

    asyncio.run(go())


def test_a_client_that_leaves_while_a_mix_is_made_leaves_it_to_the_next() -> None:
    async def go() -> None:
        fake, mixes = made()

        async def one() -> None:
            async with mixes.held((("a", 1.0),)):
                pass

        leaving = asyncio.create_task(one())
        await asyncio.sleep(0)
        leaving.cancel()
        await one()
        assert fake.made == 1

    asyncio.run(go())


def test_a_mix_that_could_not_be_made_is_tried_again() -> None:
    async def go() -> None:
        fake, mixes = made()
        fake.error = UsageError("no", hint="no")
        with pytest.raises(UsageError):
            async with mixes.held((("a", 1.0),)):
                pass
        fake.error = None
        async with mixes.held((("a", 1.0),)) as called:
            assert fake.had == [called]

    asyncio.run(go())
