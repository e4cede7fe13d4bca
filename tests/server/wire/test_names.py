"""Whatever is wrong is named as the request names it, in `param` and at the beginning of the message."""

import asyncio
from dataclasses import fields
from typing import Any

import httpx
import msgspec
import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.errors import ConfigError
from llmkit.server.wire.chat import ChatRequest
from llmkit.server.wire.completions import CompletionRequest
from llmkit.server.wire.messages import MessagesRequest
from llmkit.server.wire.names import MESSAGES, RESPONSES, TEXTS, named_error, setting_of
from llmkit.server.wire.responses import ResponsesRequest
from tests.server.conftest import Serving

TURN = [{"role": "user", "content": "a"}]
LONG = "a b " * 400


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("completions", {"prompt": "a", "logit_bias": {"99999": 1}}, "logit_bias"),
        ("completions", {"prompt": "a", "stop_token_ids": [99999]}, "stop_token_ids"),
        ("completions", {"prompt": LONG}, "prompt"),
        ("completions", {"prompt": "a", "guided_choice": [""]}, "guided_choice"),
        ("completions", {"prompt": "a", "structured_outputs": {"choice": [""]}}, "structured_outputs.choice"),
        ("completions", {"prompt": "a", "guided_regex": "("}, "guided_regex"),
        ("completions", {"prompt": "a", "regex": "("}, "regex"),
        ("chat/completions", {"messages": TURN, "logit_bias": {"99999": 1}}, "logit_bias"),
        ("chat/completions", {"messages": TURN, "stop_token_ids": [99999]}, "stop_token_ids"),
        ("chat/completions", {"messages": [{"role": "user", "content": LONG}]}, "messages"),
        (
            "chat/completions",
            {"messages": TURN, "response_format": {"type": "regex", "regex": "("}},
            "response_format",
        ),
        ("responses", {"input": LONG}, "input"),
        ("responses", {"input": []}, "input"),
        ("responses", {"input": [{"role": "x", "content": "a"}], "instructions": "b"}, "input[0].role"),
        ("responses", {"input": "a", "max_output_tokens": 0}, "max_output_tokens"),
        (
            "responses",
            {"input": "a", "text": {"format": {"type": "json_schema", "schema": {"type": "x"}}}},
            "text.format",
        ),
        ("messages", {"messages": TURN, "max_tokens": 0}, "max_tokens"),
        (
            "messages",
            {
                "messages": TURN,
                "max_tokens": 1,
                "output_config": {"format": {"type": "json_schema", "schema": {"type": "x"}}},
            },
            "output_config.format",
        ),
        ("messages", {"messages": [{"role": "user", "content": LONG}], "max_tokens": 1}, "messages"),
        (
            "messages",
            {"messages": [{"role": "user", "content": None}], "system": "b", "max_tokens": 1},
            "messages[0].content",
        ),
    ],
)
def test_every_endpoint_names_what_is_wrong_as_its_body_does(
    path: str, body: dict[str, Any], param: str, serving: Serving
) -> None:
    if "regex" in str(body) or "json_schema" in str(body):
        pytest.importorskip("llguidance")

    async def go() -> httpx.Response:
        async with serving() as client:
            return await client.post(f"/v1/{path}", json=body)

    answer = asyncio.run(go())
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["message"].startswith(param), error
    assert path == "messages" or error["param"] == param


def test_every_name_inside_is_a_setting_and_every_name_outside_a_parameter() -> None:
    settings = {one.name for one in fields(SamplingConfig)} | {"messages", "prompt"}
    for names, bodies in (
        (TEXTS, (CompletionRequest, ChatRequest)),
        (RESPONSES, (ResponsesRequest,)),
        (MESSAGES, (MessagesRequest,)),
    ):
        assert set(names) <= settings
        for body in bodies:
            assert set(names.values()) <= {one.name for one in msgspec.structs.fields(body)}


@pytest.mark.parametrize("setting", ["temperature", "top_n_sigma", "repetition_penalty", "dry_base"])
def test_a_number_that_is_too_large_is_told_the_bound_that_it_breaks(setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SamplingConfig(**{setting: 1e308})
    error = named_error(caught.value, {})
    assert error.param == setting and "below 1e6 (found 1e+308)" in error.message


def test_a_problem_that_begins_with_another_word_is_about_no_setting() -> None:
    assert setting_of("the prompt has no token") is None and setting_of("") is None
    assert setting_of("stop_ids: token id 9 is not there") == "stop_ids"
