"""Work for many things, a few at once."""

import asyncio

import pytest

from llmkit.server.each import each


def test_results_come_in_order_and_no_more_than_told_are_worked_on_at_once() -> None:
    running, most = 0, 0

    async def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (9 - number))
        running -= 1
        return number * number

    assert asyncio.run(each(work, range(9), at_once=3)) == [number**2 for number in range(9)]
    assert most == 3


def test_where_one_fails_the_others_are_given_up() -> None:
    begun, done = [], []

    async def work(number: int) -> None:
        begun.append(number)
        if not number:
            raise ValueError("no")
        await asyncio.sleep(0.01)
        done.append(number)

    async def go() -> None:
        with pytest.raises(ValueError, match="no"):
            await each(work, range(9), at_once=3)
        await asyncio.sleep(0.05)

    asyncio.run(go())
    assert begun and not done
