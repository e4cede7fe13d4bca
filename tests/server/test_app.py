"""The application end to end, in this process: what a client sends, and what it gets."""

import asyncio
import json
from typing import Any

import pytest
import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine
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


def test_a_body_over_the_cap_is_413(serving: Serving) -> None:
    async def ask() -> int:
        async with serving() as client:
            return (await client.post("/v1/completions", content=b" " * (3 << 20))).status_code

    assert run(ask()) == 413


def test_several_prompts_and_samples_come_back_in_order(serving: Serving) -> None:
    body = {"prompt": ["the", "fox"], "n": 2, "seed": 1, "max_tokens": 4, "echo": True, "ignore_eos": True}

    async def ask() -> list[dict[str, Any]]:
        async with serving() as client:
            return (await client.post("/v1/completions", json=body)).json()["choices"]  # type: ignore[no-any-return]

    choices = run(ask())
    assert [one["index"] for one in choices] == [0, 1, 2, 3]
    assert [one["text"][:3] for one in choices] == ["the", "the", "fox", "fox"]
    assert len({one["text"] for one in choices}) == 4


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
