"""Each limit of a key holds, for that key alone, and what a request took is what is charged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from llmkit.server.admission import Admission
from llmkit.server.config import AdmissionConfig
from llmkit.server.errors import ApiError
from llmkit.server.gate import Sizes, Slot
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.usage import UsageStore

NOON = datetime(2026, 5, 5, 12, tzinfo=UTC)


def gate_of(**rules: Any) -> KeyedGate:
    keys = Keys(
        {
            "alice": KeyRules(sha256=digest_of("a"), **rules),
            "bob": KeyRules(sha256=digest_of("b")),
        }
    )
    admission = Admission(AdmissionConfig(), lambda: 0.0)
    return KeyedGate(keys, admission, UsageStore(None), clock=lambda: 0.0, now=lambda: NOON)


@asynccontextmanager
async def entered(gate: KeyedGate, key: str, **sizes: int) -> AsyncIterator[Slot]:
    caller = gate.identify(key)
    with gate.begin(caller):
        async with gate.enter(caller, Sizes(answers=1, **sizes), model="m") as slot:
            yield slot


async def ask(
    gate: KeyedGate, key: str, *, tokens: int = 10, fails: bool = False, draws: bool = True
) -> None:
    async with entered(gate, key, prompt_tokens=tokens, max_tokens=50) as slot:
        slot.usage.prompt_tokens = tokens
        if draws:
            slot.first_token_seconds = 0.1
        if fails:
            raise RuntimeError


def refusal_of(work: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        asyncio.run(work)
    return caught.value


def test_nobody_comes_in_without_a_key() -> None:
    gate = gate_of()
    for key in (None, "", "c"):
        with pytest.raises(ApiError) as caught:
            gate.identify(key)
        assert caught.value.status == 401
    assert gate.identify("b").name == "bob"


@pytest.mark.parametrize(
    ("rules", "code", "wait"),
    [
        ({"requests_per_minute": 2}, "rate_limit_exceeded", 30.0),
        ({"tokens_per_minute": 20}, "rate_limit_exceeded", 0.0),
        ({"tokens_per_day": 25}, "quota_exceeded", 12 * 3600),
        ({"tokens_per_month": 25}, "quota_exceeded", 26 * 86400 + 12 * 3600),
    ],
)
def test_a_key_over_its_limit_is_told_when_to_come_back_and_others_are_served(
    rules: dict[str, Any], code: str, wait: float
) -> None:
    gate = gate_of(**rules)

    async def scenario() -> None:
        await ask(gate, "a")
        await ask(gate, "a")
        await ask(gate, "b")
        await ask(gate, "a")

    error = refusal_of(scenario())
    assert (error.status, error.code) == (429, code)
    assert error.retry_after == pytest.approx(wait, abs=1e-6)
    asyncio.run(ask(gate, "b"))
    assert dict(gate.limited) == {"alice": 1}


def test_requests_at_once_are_limited_and_free_again_after_a_failure() -> None:
    gate = gate_of(concurrent=1)

    async def scenario() -> int:
        with pytest.raises(RuntimeError):
            await ask(gate, "a", fails=True)
        async with entered(gate, "a", prompt_tokens=1, max_tokens=1):
            await ask(gate, "b")
            try:
                await ask(gate, "a")
            except ApiError as error:
                return error.status
        return 0

    assert asyncio.run(scenario()) == 429
    assert gate.admission.requests == 0


def test_a_request_that_came_to_nothing_is_not_charged() -> None:
    gate = gate_of(tokens_per_day=100)
    with pytest.raises(RuntimeError):
        asyncio.run(ask(gate, "a", tokens=90, fails=True, draws=False))
    asyncio.run(ask(gate, "a", tokens=90))
    assert refusal_of(ask(gate, "a", tokens=90)).code == "quota_exceeded"


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("tokens_per_minute", "rate_limit_exceeded"),
        ("tokens_per_day", "quota_set_aside"),
        ("tokens_per_month", "quota_set_aside"),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_requests_at_once_pass_a_limit_by_no_more_than_one_of_them(rule: str, code: str, fails: bool) -> None:
    gate = gate_of(**{rule: 200})
    most = 10 + 50
    refused: list[ApiError] = []
    inside, total = asyncio.Event(), 0

    async def one() -> None:
        nonlocal total
        caller = gate.identify("a")
        try:
            async with gate.enter(caller, Sizes(10, 50, answers=1), model="m") as slot:
                await inside.wait()
                slot.first_token_seconds = 0.1
                slot.usage.prompt_tokens, slot.usage.completion_tokens = 10, 50
                total += slot.usage.total_tokens
                if fails:
                    raise RuntimeError
        except ApiError as error:
            refused.append(error)
        except RuntimeError:
            pass

    async def scenario() -> None:
        asked = [asyncio.create_task(one()) for _ in range(50)]
        await asyncio.sleep(0)
        await ask(gate, "b")  # another key has its own
        inside.set()
        await asyncio.gather(*asked)

    asyncio.run(scenario())
    assert 200 - most < total < 200 + most
    assert {(one.status, one.code, one.retry_after) for one in refused} == {(429, code, 1.0)}
    assert gate.limited["alice"] == len(refused) == 50 - total // most


def test_what_was_set_aside_and_not_taken_is_there_again_even_for_one_that_was_given_up() -> None:
    gate = gate_of(tokens_per_day=100)

    async def scenario() -> None:
        for _ in range(5):
            await ask(gate, "a", tokens=10)  # of 60 that it might have come to
        waiting = asyncio.create_task(hold(gate))
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as caught:
            await ask(gate, "a", tokens=10)
        assert caught.value.code == "quota_set_aside"
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await ask(gate, "a", tokens=10)

    asyncio.run(scenario())


async def hold(gate: KeyedGate) -> None:
    async with gate.enter(gate.identify("a"), Sizes(10, 50, answers=1), model="m"):
        await asyncio.Event().wait()


def test_each_answer_counts_in_the_queue_with_the_one_prompt_that_it_reads() -> None:
    gate = gate_of()

    async def held(prompts: list[int], samples: int) -> int:
        answers = len(prompts) * samples
        asked = Sizes(sum(prompts), answers, answers, samples)
        async with gate.enter(gate.identify("a"), asked, model="m"):
            return gate.admission.tokens

    assert asyncio.run(held([39] * 15, 1)) == sum(39 + 1 for _ in range(15))
    assert asyncio.run(held([10, 20], 3)) == 3 * (10 + 1) + 3 * (20 + 1)


def test_a_key_that_was_taken_away_since_it_was_shown_is_nobodys() -> None:
    gate = gate_of(tokens_per_day=5)
    alice = gate.identify("a")

    async def scenario() -> None:
        async with gate.enter(alice, Sizes(1, 1, answers=1), model="m"):
            gate.replace_keys(Keys({"bob": KeyRules(sha256=digest_of("b"))}))  # who is in stays in
        async with gate.enter(alice, Sizes(1, 1, answers=1), model="m"):
            pass

    error = refusal_of(scenario())
    assert (error.status, error.code) == (401, "invalid_api_key") and gate.admission.requests == 0


def test_a_request_counts_before_anything_is_done_for_it_whatever_becomes_of_it() -> None:
    gate = gate_of(requests_per_minute=2, concurrent=1)
    alice, bob = gate.identify("a"), gate.identify("b")
    with gate.begin(alice), gate.begin(bob):
        with pytest.raises(ApiError) as caught, gate.begin(alice):
            pass
        assert (caught.value.status, caught.value.code) == (429, "concurrency_limit")
    with pytest.raises(RuntimeError), gate.begin(alice):
        raise RuntimeError  # its prompt was refused
    with pytest.raises(ApiError) as caught, gate.begin(alice):
        pass
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")


def test_what_is_sure_to_be_refused_is_refused_before_it_counts_as_a_request() -> None:
    gate = gate_of(requests_per_minute=1, tokens_per_day=100)
    alice = gate.identify("a")

    async def scenario() -> None:
        with pytest.raises(ApiError) as caught, gate.begin(alice, Sizes(100, answers=1)):
            pass
        assert caught.value.code == "quota_exceeded"
        async with gate.enter(gate.identify("b"), Sizes(1, 999_000, answers=1), model="m"):
            with pytest.raises(ApiError) as caught, gate.begin(alice, Sizes(1, 1_000, answers=1)):
                pass
            assert (caught.value.status, caught.value.code) == (503, "queue_full")
        with gate.begin(alice, Sizes(1, answers=1)):
            pass

    asyncio.run(scenario())
    assert gate.admission.requests == 0


def test_a_spent_budget_does_not_refuse_what_takes_no_tokens() -> None:
    gate = gate_of(tokens_per_day=10, tokens_per_minute=1)
    asyncio.run(ask(gate, "a", tokens=9))
    with pytest.raises(ApiError), gate.begin(gate.identify("a"), Sizes(1, answers=1)):
        pass
    with gate.begin(gate.identify("a")):
        pass
