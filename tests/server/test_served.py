"""What is asked becomes requests: seeds, caches kept apart, the context never overrun, nothing cut."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import tokenizers

from llmkit.engine.config import SamplingConfig
from llmkit.engine.seeds import derive_seed
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from llmkit.server.ask import Ask
from llmkit.server.errors import ApiError
from llmkit.server.gate import Caller
from llmkit.server.served import Prepared
from tests.server.calling_made import calling_folder, calling_model
from tests.server.conftest import FIELDS, Serving, served_app

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


@pytest.mark.parametrize("wrong", [-1, 10**14, 300])
def test_ids_that_there_are_not_are_the_requests_fault_before_they_are_spelled(
    serving: Serving, wrong: int
) -> None:
    ask = replace(ASK, texts=(), ids=((5, 6), (5, wrong)), echo=True)
    with pytest.raises(ApiError, match=f"token id {wrong} of the prompt is not in the model's") as caught:
        prepare(serving, ask)
    assert (caught.value.status, caught.value.param) == (400, "prompt")
    assert prepare(serving, replace(ask, ids=((5,), (6,)))).prompts == ("#", "$")


def test_ids_that_the_tokenizer_has_no_token_for_are_scored_and_spell_nothing(
    tokenizer_folder: Path,
) -> None:
    config = ModelConfig(vocab_size=320, **FIELDS)  # more than tokens, as of many models

    async def go() -> dict[str, Any]:
        async with served_app(Transformer(config).eval(), tokenizer_folder) as (app, _):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                body = {"prompt": [5, 310, 6], "echo": True, "max_tokens": 0, "logprobs": 0}
                return (await client.post("/v1/completions", json=body)).json()["choices"][0]  # type: ignore[no-any-return]

    told = asyncio.run(go())
    assert told["text"] == "#$" and told["logprobs"]["text_offset"] == [0, 1, 1]


CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"enum": ["Bern", "Rome"]}}}
CITY |= {"required": ["city"], "additionalProperties": False}


def test_a_strict_function_that_may_be_called_is_called_rightly_or_refused(tmp_path: Path) -> None:
    pytest.importorskip("llguidance")
    folder = calling_folder(tmp_path)
    model = calling_model(folder, 768)

    async def go() -> list[httpx.Response]:
        async with served_app(model, folder, stop_ids=(0,)) as (app, _):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                mark = app.state.serve.models.find(None, Caller()).tokenizer.id_of("[TOOL_CALLS]")
                body = {"messages": [{"role": "user", "content": "a"}], "seed": 1, "max_tokens": 300}
                found = []
                for schema, strict in ((CITY, True), (CITY | {"uniqueItems": True}, True), (CITY, False)):
                    function = {"name": "weather", "parameters": schema, "strict": strict}
                    asked = body | {"tools": [{"type": "function", "function": function}]}
                    asked |= {"logit_bias": {str(mark): 100}, "parallel_tool_calls": False}
                    found.append(await client.post("/v1/chat/completions", json=asked, timeout=60))
                return found

    called, refused, free = asyncio.run(go())
    (call,) = called.json()["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) in ({"city": "Bern"}, {"city": "Rome"})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "tools"
    assert "tool_calls" not in free.json()["choices"][0]["message"]  # a random model writes what it wants


@pytest.mark.parametrize("stream", [False, True])
def test_a_fault_in_a_pass_is_logged_with_the_place_where_it_came_about(
    model: Transformer, tokenizer_folder: Path, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    def faulty_pass(works: object) -> None:
        raise ZeroDivisionError("secret")

    async def scenario() -> str:
        async with served_app(model, tokenizer_folder) as (app, thread):
            thread._engine._runner.run = faulty_pass  # type: ignore[method-assign, assignment]
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
                body = {"model": "tiny", "prompt": "a", "max_tokens": 2, "stream": stream}
                return (await client.post("/v1/completions", json=body)).text

    told = asyncio.run(scenario())
    assert "inside the server" in told and "secret" not in told
    assert "in faulty_pass" in caplog.text and "ZeroDivisionError: secret" in caplog.text


def test_a_gap_is_filled_between_prompt_and_suffix(tmp_path: Path) -> None:
    folder = calling_folder(tmp_path)
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    marks = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim_pad>")
    backend.add_special_tokens([tokenizers.AddedToken(mark, special=True) for mark in marks])
    backend.save(str(folder / "tokenizer.json"))
    ids = [backend.encode(f"<fim_prefix>{one}<fim_suffix>)<fim_middle>").ids for one in ("f(", "")]
    gap = replace(ASK, texts=("f(", ""), suffix=")")

    async def go(folder: Path) -> Prepared:
        async with served_app(calling_model(folder, 64), folder) as (app, _):
            found: Prepared = await app.state.serve.models.find(None, Caller()).prepare(gap, Caller())
            return found

    prepared = asyncio.run(go(folder))
    assert [list(one.prompt) for one in prepared.requests] == ids
    assert backend.token_to_id("<fim_pad>") in prepared.requests[0].stop_ids
    (tmp_path / "plain").mkdir()
    with pytest.raises(ApiError, match="no tokens that mark a gap") as caught:
        asyncio.run(go(calling_folder(tmp_path / "plain")))
    assert caught.value.param == "suffix"
