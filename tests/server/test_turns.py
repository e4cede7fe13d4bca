"""Callers take turns, those who left are passed over, and of a full queue who has most in it is told."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from llmkit.server.errors import ApiError
from llmkit.server.turns import Turns


def turns_of(work: Callable[[Turns[str]], Awaitable[None]], *, most_waiting: int = 100) -> None:
    async def go() -> None:
        turns = Turns(["it"], most_waiting=most_waiting, what="prompts", clock=lambda: 0.0)
        await work(turns)
        assert turns.waiting == 0 and not turns._lines and list(turns._free) == ["it"]

    asyncio.run(go())


async def waiting(turns: Turns[str], *callers: str) -> list["asyncio.Task[str]"]:
    tasks = [asyncio.create_task(turns.take(one)) for one in callers]
    await asyncio.sleep(0)
    return tasks


async def served(turns: Turns[str], tasks: list["asyncio.Task[str]"]) -> list[int]:
    """The tasks in the order in which they get it, each giving it back."""
    order = []
    while left := [place for place, one in enumerate(tasks) if place not in order and not one.cancelled()]:
        await asyncio.sleep(0)
        for place in left:
            if tasks[place].done() and not tasks[place].cancelled():
                order.append(place)
                turns.give_back(tasks[place].result())
    return order


def test_one_that_asks_for_much_waits_behind_itself() -> None:
    async def work(turns: Turns[str]) -> None:
        held = await turns.take("alice")
        tasks = await waiting(turns, "alice", "alice", "alice", "bob", "carol", "bob")
        turns.give_back(held)
        assert await served(turns, tasks) == [0, 3, 4, 1, 5, 2]

    turns_of(work)


def test_one_that_left_is_passed_over_before_its_turn_and_in_it() -> None:
    async def work(turns: Turns[str]) -> None:
        held = await turns.take("alice")
        tasks = await waiting(turns, "alice", "alice", "bob", "bob")
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        assert turns.waiting == 3
        tasks[2].cancel()  # and has not heard of it when its turn comes
        turns.give_back(held)
        tasks[1].cancel()  # as it gets it
        assert await served(turns, tasks) == [3]

    turns_of(work)


def test_a_full_queue_says_when_to_come_back() -> None:
    async def work(turns: Turns[str]) -> None:
        held = await turns.take("alice")
        tasks = await waiting(turns, "alice", "alice")
        with pytest.raises(ApiError, match="the queue of prompts is full") as caught:
            await turns.take("alice")
        error = caught.value
        assert (error.status, error.code, error.headers()["retry-after"]) == (503, "queue_full", "1")
        assert (turns.waiting, turns.refused) == (2, 1)
        turns.give_back(held)
        assert await served(turns, tasks) == [0, 1]

    turns_of(work, most_waiting=2)


def test_a_caller_with_less_in_a_full_queue_takes_the_last_place_of_the_one_with_most() -> None:
    async def work(turns: Turns[str]) -> None:
        held = await turns.take("alice")
        tasks = await waiting(turns, "alice", "alice", "alice", "bob")
        with pytest.raises(ApiError) as caught:
            await tasks[2]
        assert caught.value.code == "queue_full"
        with pytest.raises(ApiError):
            await turns.take("bob")  # who would have as many as alice has left, or more
        assert (turns.waiting, turns.refused) == (3, 2)
        del tasks[2]
        turns.give_back(held)
        assert await served(turns, tasks) == [0, 2, 1]

    turns_of(work, most_waiting=3)
