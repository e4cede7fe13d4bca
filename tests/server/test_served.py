"""What is asked becomes requests: seeds, caches kept apart, the context never overrun, nothing cut."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.engine.seeds import derive_seed
from llmkit.server.ask import Ask
from llmkit.server.errors import ApiError
from llmkit.server.gate import Caller
from llmkit.server.served import Prepared
from tests.server.conftest import Serving

ASK = Ask(
    kind="text",
    model="",
    sampling=SamplingConfig(seed=7, max_tokens=9999),
    texts=("the", "fox"),
    seed_given=True,
)


NOBODY = Caller()


def prepare(serving: Serving, ask: Ask, caller: Caller = NOBODY) -> Prepared:
    async def go() -> Any:
        async with serving() as client:
            served = client.app.state.serve.models.find(None, Caller())  # type: ignore[attr-defined]
            return await served.prepare(ask, caller)

    found: Prepared = asyncio.run(go())
    return found


def test_samples_and_prompts_have_the_seeds_that_generate_gives_them(serving: Serving) -> None:
    prepared = prepare(serving, replace(ASK, sampling=replace(ASK.sampling, samples=2)))
    second = derive_seed(7, "prompt 1")
    assert [one.sampling.seed for one in prepared.requests] == [
        *(7, derive_seed(7, "sample 1"), second, derive_seed(second, "sample 1")),
    ]
    assert prepared.prompts == ("the", "the", "fox", "fox")


def test_a_text_ends_where_the_context_does_and_its_prompt_is_counted_once(serving: Serving) -> None:
    prepared = prepare(serving, replace(ASK, sampling=replace(ASK.sampling, samples=3)))
    lengths = [len(one.prompt) for one in prepared.requests]
    assert [one.sampling.max_tokens for one in prepared.requests] == [256 - length for length in lengths]
    assert prepared.prompt_tokens == lengths[0] + lengths[3]


def test_what_breaks_repetitions_is_found_where_they_are_looked_for(serving: Serving) -> None:
    dry = replace(ASK.sampling, dry_multiplier=0.8, dry_sequence_breakers=("f",))
    found = [prepare(serving, replace(ASK, sampling=one)).requests[1] for one in (ASK.sampling, dry)]
    assert found[0].breaks is None and found[1].breaks is not None
    assert found[1].breaks.after_last(found[1].prompt) < len(found[1].prompt)


def test_seeds_that_nobody_chose_differ(serving: Serving) -> None:
    ask = replace(ASK, texts=("the",), seed_given=False)
    assert prepare(serving, ask).requests[0].sampling.seed != prepare(serving, ask).requests[0].sampling.seed


def test_what_one_key_cached_with_one_salt_no_other_finds_and_turns_are_the_keys(serving: Serving) -> None:
    alice = Caller("alice", "alice", lowest_priority=2)
    found = [
        prepare(serving, replace(ASK, cache_salt=salt), caller).requests[0]
        for salt in ("", "u")
        for caller in (Caller(), alice)
    ]
    assert len({one.cached_under() for one in found}) == 4
    assert [one.key for one in found] == ["", "alice", "", "alice"]
    assert prepare(serving, replace(ASK, priority=-5), alice).requests[0].priority == 2


def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(serving: Serving) -> None:
    with pytest.raises(ApiError, match="256 tokens, and the context has 256") as caught:
        prepare(serving, replace(ASK, texts=(), ids=((5,) * 256,)))
    assert caught.value.code == "context_length_exceeded"
