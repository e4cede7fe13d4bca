"""The application end to end, in this process: what a client sends, and what it gets."""

import asyncio
import json
import threading
from typing import Any

import httpx
import pytest
import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.request import Request
from llmkit.model.transformer import Transformer
from llmkit.tokens.tokenizer import Tokenizer
from tests.server.conftest import Serving

GREEDY = {"temperature": 0, "max_tokens": 12, "ignore_eos": True}


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def test_a_completion_is_what_the_engine_alone_writes(
    serving: Serving, model: Transformer, tokenizer: Tokenizer
) -> None:
    async def ask() -> dict[str, Any]:
        async with serving() as client:
            answer = await client.post("/v1/completions", json={"prompt": "the quick", **GREEDY})
            assert answer.status_code == 200, answer.text
            return answer.json()  # type: ignore[no-any-return]

    body = run(ask())
    prompt = tuple(tokenizer.backend.encode("the quick").ids)
    sampling = SamplingConfig(temperature=0.0, max_tokens=12, ignore_eos=True)
    ids = [drawn.id for drawn in Engine(model).run(Request(prompt, sampling))]
    assert body["choices"][0]["text"] == tokenizer.decode([*prompt, *ids])[len("the quick") :]
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["prompt_tokens"] == len(prompt) and body["usage"]["completion_tokens"] == 12


def test_the_deltas_of_a_stream_are_the_text_of_one_piece(serving: Serving) -> None:
    body = {"messages": [{"role": "user", "content": "hello"}], "seed": 5, "max_tokens": 40, "logprobs": True}

    async def ask() -> tuple[dict[str, Any], list[str]]:
        async with serving() as client:
            whole = (await client.post("/v1/chat/completions", json=body)).json()
            told = {**body, "stream": True, "stream_options": {"include_usage": True}}
            async with client.stream("POST", "/v1/chat/completions", json=told) as answer:
                lines = [line async for line in answer.aiter_lines() if line]
            return whole, lines

    whole, lines = run(ask())
    assert lines[-1] == "data: [DONE]"
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    text = "".join(one["choices"][0]["delta"].get("content", "") for one in events if one["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert events[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    scores = [
        s
        for one in events
        if one["choices"]
        for s in (one["choices"][0]["logprobs"] or {}).get("content", [])
    ]
    assert [s["bytes"] for s in scores] == [s["bytes"] for s in whole["choices"][0]["logprobs"]["content"]]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"prompt": "a", "n": 10**9}, 400, "n"),
        ({"prompt": "a", "no_such": 1}, 400, "no_such"),
        ({"prompt": ""}, 400, "prompt"),
        ({"prompt": []}, 400, "prompt"),
        ({"prompt": "a", "temperature": -1}, 400, "temperature"),
        ({"prompt": "a", "top_k": -7}, 400, "top_k"),
        ({"prompt": "a", "best_of": 3}, 400, "best_of"),
        ({"prompt": "a", "logprobs": 1000}, 400, "logprobs"),
        ({"prompt": [9999]}, 400, "prompt"),
        ({"prompt": "a " * 400}, 400, "prompt"),
        ({"prompt": "a", "model": "other"}, 404, "model"),
        ({"prompt": "a", "prompt_embeds": "x"}, 400, "prompt_embeds"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_its_name(
    body: dict[str, Any], status: int, param: str, serving: Serving
) -> None:
    async def ask() -> Any:
        async with serving() as client:
            return await client.post("/v1/completions", json=body)

    answer = run(ask())
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text


def test_bad_json_is_400_whatever_is_wrong_with_it(serving: Serving) -> None:
    bodies = [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"prompt": NaN}',
        b'{"temperature": 1e400, "prompt": "a"}',
        b"\xff",
    ]
    bodies.append(b'{"prompt": "\\ud800"}')

    async def ask() -> list[int]:
        async with serving() as client:
            return [(await client.post("/v1/completions", content=one)).status_code for one in bodies]

    assert run(ask()) == [400] * len(bodies)


WITH_TEXTS = ("/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages")


@pytest.mark.parametrize("path", WITH_TEXTS)
def test_users_share_the_cache_of_their_key_and_salts_do_not(path: str, serving: Serving) -> None:
    text = "the quick brown fox jumps over the lazy dog " * 3
    said = {"messages": [{"role": "user", "content": text}]}
    body = {"/v1/completions": {"prompt": text}, "/v1/responses": {"input": text}}.get(path, said)
    most = {"max_output_tokens" if path == "/v1/responses" else "max_tokens": 1}

    def user(name: str) -> dict[str, Any]:
        return {"metadata": {"user_id": name}} if path == "/v1/messages" else {"user": name}

    async def go() -> list[bool]:
        async with serving() as client:
            counts = client.thread._engine.counts  # type: ignore[attr-defined]
            found = []
            for more in (user("a"), user("b"), {"cache_salt": "s"}, {"cache_salt": "s"}, {"cache_salt": ""}):
                before = counts.cached_tokens
                answer = await client.post(path, json={**body, **most, **more})
                assert answer.status_code == 200, answer.text
                found.append(counts.cached_tokens > before)
            return found

    assert run(go()) == [False, True, False, True, True]


@pytest.mark.parametrize("path", WITH_TEXTS)
@pytest.mark.parametrize("stream", [False, True])
def test_when_the_time_is_over_every_text_ends_with_a_word_and_its_memory_is_free(
    path: str, stream: bool, serving: Serving
) -> None:
    said = {"messages": [{"role": "user", "content": "the"}], "prompt": "the", "input": "the"}
    names = {"/v1/completions": "prompt", "/v1/responses": "input"}
    name = names.get(path, "messages")
    most = "max_output_tokens" if name == "input" else "max_tokens"

    async def go() -> tuple[httpx.Response, bool]:
        async with serving() as client:
            state = client.app.state.serve  # type: ignore[attr-defined]
            thread = client.thread  # type: ignore[attr-defined]
            one_pass, answered = thread._engine.step, threading.Event()
            loop = asyncio.get_running_loop()

            def step() -> Any:  # one pass, and no other before the answer is there
                if thread.steps:
                    answered.wait(20)
                loop.call_soon_threadsafe(state.over.set)
                return one_pass()

            thread._engine.step = step
            body = {name: said[name], most: 200, "stream": stream}
            answer = await client.post(path, json=body)
            answered.set()
            while not thread._engine.is_idle:
                await asyncio.sleep(0.005)
            return answer, thread._engine.pool.num_free == thread._engine.pool.num_blocks

    answer, free = run(go())
    assert free and b"about to end" in answer.content and b"[DONE]" not in answer.content
    overloaded = 529 if path == "/v1/messages" else 503
    assert answer.status_code == (200 if stream else overloaded)


def test_a_body_over_the_cap_is_413(serving: Serving) -> None:
    async def ask() -> int:
        async with serving() as client:
            return (await client.post("/v1/completions", content=b" " * (3 << 20))).status_code

    assert run(ask()) == 413


def test_a_text_has_the_tokens_that_it_must_and_the_stop_string_where_it_shall(serving: Serving) -> None:
    pytest.importorskip("llguidance")
    body = {"prompt": "the", "temperature": 0, "max_tokens": 12, "logit_bias": {"66": 100}}
    body |= {"stop_token_ids": [66]}
    chat = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 3, "min_tokens": 4}

    async def ask() -> list[Any]:
        async with serving() as client:
            bodies = [body, {**body, "min_tokens": 4}]
            counts = [(await client.post("/v1/completions", json=one)).json()["usage"] for one in bodies]
            told = {"prompt": "the", "stop": "x", "regex": "abx", "include_stop_str_in_output": True}
            shown = await client.post("/v1/completions", json=told)
            return [*counts, shown.json(), await client.post("/v1/chat/completions", json=chat)]

    plain, longer, shown, refused = run(ask())
    assert (plain["completion_tokens"], longer["completion_tokens"]) == (1, 5)
    assert (shown["choices"][0]["text"], shown["choices"][0]["stop_reason"]) == ("abx", "x")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "min_tokens")


def test_several_prompts_and_samples_come_back_in_order(serving: Serving) -> None:
    body = {"prompt": ["the", "fox"], "n": 2, "seed": 1, "max_tokens": 4, "echo": True, "ignore_eos": True}

    async def ask() -> list[dict[str, Any]]:
        async with serving() as client:
            return (await client.post("/v1/completions", json=body)).json()["choices"]  # type: ignore[no-any-return]

    choices = run(ask())
    assert [one["index"] for one in choices] == [0, 1, 2, 3]
    assert [one["text"][:3] for one in choices] == ["the", "the", "fox", "fox"]
    assert len({one["text"] for one in choices}) == 4


@pytest.mark.parametrize("as_ids", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_an_echoed_prompt_is_the_same_text_with_scores_and_without_and_offsets_point_into_it(
    as_ids: bool, stream: bool, serving: Serving, tokenizer: Tokenizer
) -> None:
    prompt = "the<|im_end|> quick é"
    ids = tokenizer.backend.encode(prompt).ids
    body = {"prompt": ids if as_ids else prompt, "echo": True, "max_tokens": 6, "seed": 5, "ignore_eos": True}
    body |= {"stream": stream}

    async def ask() -> list[list[dict[str, Any]]]:
        async with serving() as client:
            answers = [await client.post("/v1/completions", json=body | one) for one in ({}, {"logprobs": 0})]
            if not stream:
                return [one.json()["choices"] for one in answers]
            told = [one.text.split("\n\n") for one in answers]
            return [[json.loads(line[6:])["choices"][0] for line in one[:-2]] for one in told]

    plain, scored = run(ask())
    texts = ["".join(one["text"] for one in choices) for choices in (plain, scored)]
    assert texts[0] == texts[1] and texts[0].startswith(prompt)
    columns = [one["logprobs"] for one in scored if one["logprobs"]]
    tokens = [token for one in columns for token in one["tokens"]]
    offsets = [offset for one in columns for offset in one["text_offset"]]
    assert offsets == sorted(offsets) and (len(tokens) == len(ids) + 6 or not as_ids)
    for token, offset in zip(tokens, offsets, strict=True):
        assert "\ufffd" in token or token in ("<|end|>", "<|im_start|>") or texts[1].startswith(token, offset)


def test_a_prompt_that_is_echoed_with_scores_has_those_of_a_plain_pass(
    serving: Serving, model: Transformer, tokenizer: Tokenizer
) -> None:
    ids = tokenizer.backend.encode("the quick brown fox").ids
    body = {"prompt": ids, "echo": True, "logprobs": 1, "temperature": 0, "stop": ["quick"], "seed": 1234}

    async def ask() -> list[dict[str, Any]]:
        async with serving() as client:
            bodies = [{**body, "max_tokens": count} for count in (0, 1)]
            bodies.append({**body, "max_tokens": 0, "prompt": ids[:1]})
            return [(await client.post("/v1/completions", json=one)).json() for one in bodies]

    only, too, single = run(ask())
    with torch.no_grad():
        scores = model(torch.tensor([ids])).float().log_softmax(-1)[0, :-1]
    plain = scores.gather(1, torch.tensor(ids)[1:, None])[:, 0].tolist()
    for answer, drawn in ((only, 0), (too, 1)):
        found = answer["choices"][0]["logprobs"]
        assert found["token_logprobs"][0] is None and found["top_logprobs"][0] is None
        assert found["token_logprobs"][1 : len(ids)] == pytest.approx(plain, abs=1e-4)
        assert len(found["tokens"]) == len(ids) + drawn
        assert all(isinstance(one, dict) for one in found["top_logprobs"][1:])
        assert answer["choices"][0]["text"].startswith("the quick brown fox")
        assert answer["usage"]["completion_tokens"] == drawn
    assert single["choices"][0]["logprobs"]["token_logprobs"] == [None]


def test_a_prompt_that_fills_the_context_is_scored_as_by_a_plain_pass_and_one_token_more_is_refused(
    serving: Serving, model: Transformer
) -> None:
    context = model.config.max_position_embeddings
    ids = [(7 * number) % 90 + 3 for number in range(context)]
    body = {"prompt": ids, "echo": True, "max_tokens": 0, "logprobs": 0}
    bodies = [body, {**body, "logprobs": None}, {**body, "prompt": [*ids, 5]}, {**body, "max_tokens": 1}]

    async def ask() -> list[httpx.Response]:
        async with serving(engine=EngineConfig(positions=context)) as client:
            return [await client.post("/v1/completions", json=one) for one in bodies]

    scored, echoed, longer, drawn = run(ask())
    with torch.no_grad():
        scores = model(torch.tensor([ids])).float().log_softmax(-1)[0, :-1]
    plain = scores.gather(1, torch.tensor(ids)[1:, None])[:, 0].tolist()
    told = scored.json()
    assert told["choices"][0]["logprobs"]["token_logprobs"] == [
        None,
        *(pytest.approx(x, abs=1e-4) for x in plain),
    ]
    assert told["usage"]["completion_tokens"] == 0 and told["choices"][0]["finish_reason"] == "length"
    assert echoed.json()["choices"][0]["text"] == told["choices"][0]["text"]
    assert echoed.json()["choices"][0]["logprobs"] is None
    for answer, says in (
        (longer, f"{context + 1:,} tokens, and the context has {context}"),
        (drawn, "one of them"),
    ):
        assert answer.status_code == 400 and says in answer.json()["error"]["message"]
        assert answer.json()["error"]["code"] == "context_length_exceeded"
