"""Places are given and given back; a full queue says when to come again; long requests wait for long ones."""

import asyncio

import pytest

from llmkit.server.admission import Admission, DrainRate
from llmkit.server.config import AdmissionConfig
from llmkit.server.errors import ApiError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_full_queue_says_how_long_it_takes_to_drain_at_its_speed() -> None:
    async def scenario() -> None:
        clock = Clock()
        admission = Admission(AdmissionConfig(max_tokens=1000), clock)
        first = await admission.enter(prompt_tokens=1, tokens=500, answers=1)
        clock.now += 5
        first.leave(500)
        clock.now += 2.5
        await admission.enter(prompt_tokens=1, tokens=900, answers=1)
        with pytest.raises(ApiError) as caught:
            await admission.enter(prompt_tokens=1, tokens=300, answers=1)
        # 500 tokens in the last 2.5 seconds are 200 a second, and 200 tokens are too many
        assert caught.value.status == 503 and caught.value.retry_after == pytest.approx(1.0)
        assert (admission.requests, admission.tokens, admission.rejected) == (1, 900, 1)

    asyncio.run(scenario())


def test_what_can_never_fit_is_400_not_try_again() -> None:
    admission = Admission(AdmissionConfig(max_tokens=10), Clock())
    with pytest.raises(ApiError) as caught:
        admission.check(tokens=11, answers=1)
    assert caught.value.status == 400


def test_a_long_request_waits_for_a_long_one_and_a_short_one_does_not() -> None:
    async def scenario() -> list[str]:
        admission = Admission(AdmissionConfig(long_tokens=100, long_places=1), Clock())
        order: list[str] = []

        async def one(name: str, prompt: int, hold: asyncio.Event) -> None:
            place = await admission.enter(prompt_tokens=prompt, tokens=prompt, answers=1)
            order.append(name)
            await hold.wait()
            place.leave(prompt)

        holds = [asyncio.Event() for _ in range(3)]
        tasks = []
        for name, prompt, hold in zip(("long", "longer", "short"), (100, 500, 99), holds, strict=True):
            tasks.append(asyncio.create_task(one(name, prompt, hold)))
            await asyncio.sleep(0)
        assert order == ["long", "short"]
        holds[0].set()
        for hold in holds:
            await asyncio.sleep(0)
            hold.set()
        await asyncio.gather(*tasks)
        assert admission.requests == admission.tokens == 0
        return order

    assert asyncio.run(scenario()) == ["long", "short", "longer"]


@pytest.mark.parametrize(("most", "let_in"), [(0, 1), (2, 2), (9, 3)])
def test_long_requests_leave_a_place_for_a_short_one(most: int, let_in: int) -> None:
    async def scenario() -> int:
        admission = Admission(AdmissionConfig(long_tokens=1, long_places=3), Clock())
        admission.limit_long(most)
        tasks = [asyncio.create_task(admission.enter(prompt_tokens=5, tokens=5, answers=1)) for _ in range(5)]
        await asyncio.sleep(0.01)
        found = sum(one.done() for one in tasks)
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return found

    assert asyncio.run(scenario()) == let_in


def test_a_long_request_that_is_given_up_while_it_waits_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        admission = Admission(AdmissionConfig(long_tokens=1, long_places=1), Clock())
        first = await admission.enter(prompt_tokens=5, tokens=5, answers=1)
        waiting = asyncio.create_task(admission.enter(prompt_tokens=7, tokens=7, answers=1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (admission.requests, admission.tokens) == (1, 5)
        first.leave(5)
        await asyncio.wait_for(admission.enter(prompt_tokens=5, tokens=5, answers=1), 1)

    asyncio.run(scenario())


def test_a_speed_of_long_ago_is_forgotten() -> None:
    clock = Clock()
    rate = DrainRate(clock)
    rate.add(1000)
    clock.now += 2
    assert rate.per_second == 500
    clock.now += 60
    assert rate.per_second is None
