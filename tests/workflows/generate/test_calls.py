"""Functions of batch rows: the model is held to calls as on the server, its calls are the row's answer."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmkit.engine.completion import Completion
from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.engine.request import Drawn, Request
from llmkit.model.load import load_model
from llmkit.server.ask import Ask
from llmkit.server.thinking import Thinking
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tools.calls import FoundCall
from llmkit.tokens.tools.forms import form_of
from llmkit.workflows.generate.calls import Calls
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.generate import generate_files
from tests.server.calling_made import calling_folder
from tests.server.conftest import served_app

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"town": {"enum": ["Oslo", "Rome"]}},
            "required": ["town"],
            "additionalProperties": False,
        },
    },
}
ASKED = {
    "messages": [{"role": "user", "content": "Weather?"}],
    "tools": [TOOL, {"type": "function", "function": {"name": "clock"}}],
    "temperature": 0,
    "max_tokens": 120,
}
NAMED = {"type": "function", "function": {"name": "weather"}}


def _answers(model: Path, bodies: list[dict[str, Any]], **config: Any) -> list[Any]:
    rows, out = model / "rows.jsonl", model / "out.jsonl"
    call = {"method": "POST", "url": "/v1/chat/completions"}
    asked = [{"custom_id": str(number), **call, "body": body} for number, body in enumerate(bodies)]
    rows.write_text("".join(json.dumps(one) + "\n" for one in asked))
    files = GenerateFiles(model=model, jsonl=rows, out=out, force=True)
    generate_files(files, GenerateConfig(device="cpu", dtype="float32", **config))
    return [json.loads(line)["response"]["body"] for line in out.read_text().splitlines()]


def _served(model: Path, bodies: list[dict[str, Any]]) -> list[Any]:
    async def go() -> list[Any]:
        async with served_app(load_model(model), model, stop_ids=[0], turn_end=2) as (app, _):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                return [(await client.post("/v1/chat/completions", json=body)).json() for body in bodies]

    return asyncio.run(go())


def _told(body: dict[str, Any]) -> tuple[Any, ...]:
    """An answer but for what is of one run alone: ids, times and names."""
    if "error" in body:
        return (body["error"],)
    (choice,) = body["choices"]
    calls = [one["function"] for one in choice["message"].get("tool_calls", [])]
    usage = {key: body["usage"][key] for key in ("prompt_tokens", "completion_tokens")}
    return choice["message"]["content"], calls, choice["finish_reason"], usage


def test_a_batch_answers_what_the_server_does_to_each_choice_of_a_function(
    spelled_model: Callable[..., Path],
) -> None:
    pytest.importorskip("llguidance")
    model = spelled_model(max_position_embeddings=2048)
    allowed = {"mode": "required", "tools": [NAMED]}
    wrong = {"type": "function", "function": {"name": "tides"}}
    strict = {"type": "object", "oneOf": 7}
    bodies = [
        ASKED | {"tool_choice": NAMED},
        ASKED | {"tool_choice": {"type": "allowed_tools", "allowed_tools": allowed}},
        ASKED | {"tool_choice": "auto", "max_tokens": 9},
        ASKED | {"tool_choice": "none", "max_tokens": 9},
        ASKED | {"tool_choice": "required", "tools": [TOOL], "parallel_tool_calls": False},
        ASKED | {"tool_choice": NAMED, "max_tokens": 3},
        ASKED | {"tool_choice": wrong},
        ASKED | {"tool_choice": "required", "tools": []},
        ASKED | {"tool_choice": "required", "response_format": {"type": "json_object"}},
        ASKED
        | {"tool_choice": "required", "tools": [{**TOOL, "function": {"name": "f", "parameters": strict}}]},
    ]
    served, answers = _served(model, bodies), _answers(model, bodies)
    assert [_told(one) for one in answers] == [_told(one) for one in served]
    message, finish = answers[0]["choices"][0]["message"], answers[0]["choices"][0]["finish_reason"]
    assert finish == "tool_calls" and message["content"] is None
    (call,) = message["tool_calls"]
    assert json.loads(call["function"]["arguments"])["town"] in ("Oslo", "Rome")
    assert [_answers(model, bodies)[0]["choices"], answers[0]["choices"]] == [answers[0]["choices"]] * 2
    assert ["error" in one for one in answers] == [False] * 6 + [True] * 4


def test_a_prefill_and_a_call_that_is_required_exclude_each_other(spelled_model: Callable[..., Path]) -> None:
    model = spelled_model(max_position_embeddings=2048)
    (refused,) = _answers(model, [ASKED | {"tool_choice": NAMED}], prefill="Sure")
    assert "a prefill and tools exclude each other" in refused["error"]["message"]


@pytest.mark.parametrize(
    ("written", "finish", "text", "num_calls"),
    [
        ('[TOOL_CALLS][{"name": "clock", "arguments": {}}]', "stop", "", 1),
        ('So: [TOOL_CALLS][{"name": "clock", "arguments": {}}]', "stop", "So:", 1),
        ("At noon.", "stop", "At noon.", 0),
        ('[TOOL_CALLS][{"name": "clo', "length", "[TOOL_CALLS][", 0),
    ],
)
def test_a_mark_that_is_a_special_token_begins_a_call(
    written: str, finish: Any, text: str, num_calls: int, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(calling_folder(tmp_path))
    ids = [*tokenizer.backend.encode(written).ids, *([tokenizer.eos_id or 0] * (finish == "stop"))]
    drawn = [Drawn(one, None) for one in ids[:-1]] + [Drawn(ids[-1], finish)]
    bare = Completion(written.replace("[TOOL_CALLS]", ""), tuple(drawn), finish)
    ask = Ask(kind="chat", model="", sampling=SamplingConfig(), tools=tuple(ASKED["tools"]))  # type: ignore[arg-type]
    calls = Calls(form_of(tokenizer), Thinking(tokenizer, tokenizer.vocab_size), ask)
    read = calls.read(bare, Request((1,), SamplingConfig()), tokenizer, prompt="Now?")
    assert (read.text if num_calls else read.text[: len(text)]) == text
    assert read.calls == (FoundCall("clock", "{}"),) * num_calls
