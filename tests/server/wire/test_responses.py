"""The newer endpoint's items are turns, and its answers are items."""

from typing import Any

import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.server.answer import Answered, Piece, ToolCall, Usage
from llmkit.server.errors import ApiError
from llmkit.server.wire.responses import ResponsesRequest, read_response, response_object
from llmkit.server.wire.sampling import WireLimits


def read(**given: Any) -> Any:
    body = ResponsesRequest(**{"input": "a", **given})
    return read_response(body, SamplingConfig(), WireLimits(), max_tokens=50)


def test_items_are_turns_and_instructions_come_first() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "add"}]},
        {"type": "function_call", "call_id": "1", "name": "add", "arguments": "{}"},
        {"type": "function_call", "call_id": "2", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "3"},
    ]
    messages = read(input=items, instructions="be brief").messages
    assert [one["role"] for one in messages] == ["system", "user", "assistant", "tool"]
    assert len(messages[2]["tool_calls"]) == 2


def test_a_format_is_a_rule() -> None:
    wanted = {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}}
    assert read(text=wanted).sampling.json_schema == '{"type":"object"}'


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input[0]"),
        ({"store": True}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"reasoning": {"summary": "auto"}}, "reasoning"),
    ],
)
def test_what_cannot_be_followed_is_named(given: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(**given)
    assert caught.value.param == param


def test_what_codex_sends_beside_its_input_is_taken_where_it_asks_for_nothing_that_is_missing() -> None:
    plain = read(include=["reasoning.encrypted_content"], prompt_cache_key="session-1", store=False)
    assert plain == read()
    with pytest.raises(ApiError) as caught:
        read(include=["message.output_text.logprobs"])
    assert caught.value.param == "include"


def test_a_response_tells_the_settings_it_was_drawn_with() -> None:
    ask = read(temperature=0.25)
    who = Answered("resp_1", 0, "m", None, sampling=ask.sampling)
    body = response_object(who, [[Piece(0, "a", finish="stop")]], Usage(1, 0, 1))
    assert (body["temperature"], body["top_p"]) == (0.25, SamplingConfig().top_p)


def test_an_answer_that_was_cut_is_incomplete_and_says_why() -> None:
    who = Answered("resp_1", 0, "m", None)
    body = response_object(who, [[Piece(0, "a", finish="length")]], Usage(1, 0, 1))
    assert body["status"] == "incomplete" and body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert body["output"][0]["status"] == "incomplete"
    whole = response_object(who, [[Piece(0, "a", finish="stop")]], Usage(1, 0, 1))
    assert whole["output"][0]["status"] == whole["status"] == "completed"
    call = ToolCall(0, "call_1", "f", "{}")
    body = response_object(who, [[Piece(0, calls=(call,), finish="tool_calls")]], Usage(1, 0, 1))
    assert body["status"] == "completed" and body["output"][0]["call_id"] == "call_1"
