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


def test_a_conversation_stands_behind_the_instructions_and_is_no_part_of_the_input() -> None:
    earlier = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    body = ResponsesRequest(input="c", instructions="be brief")
    told = read_response(body, SamplingConfig(), WireLimits(), max_tokens=9, earlier=earlier)
    assert [one["content"] for one in told.messages] == ["be brief", "a", "b", "c"]
    body = ResponsesRequest(input=[{"role": "user", "content": "c"}, {"role": "nobody", "content": ""}])
    with pytest.raises(ApiError) as caught:
        read_response(body, SamplingConfig(), WireLimits(), max_tokens=9, earlier=earlier)
    assert caught.value.param == "input[1].role"


def test_a_format_is_a_rule() -> None:
    wanted = {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}}
    assert read(text=wanted).sampling.json_schema == '{"type":"object"}'


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input[0]"),
        ({"metadata": {"n" * 65: ""}}, "metadata"),
        ({"metadata": {"n": "v" * 513}}, "metadata"),
        ({"metadata": dict.fromkeys("abcdefghijklmnopq", "")}, "metadata"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"reasoning": {"summary": "detailed"}}, "reasoning"),
    ],
)
def test_what_cannot_be_followed_is_named(given: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(**given)
    assert caught.value.param == param


def test_what_codex_sends_beside_its_input_is_taken_where_it_asks_for_nothing_that_is_missing() -> None:
    plain = read(include=["reasoning.encrypted_content"], prompt_cache_key="session-1", store=False)
    assert plain == read(prompt_cache_retention="24h")
    assert plain == read(reasoning={"effort": None, "summary": None}) == read(reasoning={})
    low = read(reasoning={"effort": "low", "summary": None})
    assert low.template_kwargs == {"reasoning_effort": "low"}
    assert plain == read()
    with pytest.raises(ApiError) as caught:
        read(include=["message.output_text.logprobs"])
    assert caught.value.param == "include"


def test_text_stands_before_and_after_the_calls_as_it_came_and_only_the_last_is_cut() -> None:
    call = ToolCall(0, "call_1", "f", "{}")
    pieces = [Piece(0, "a"), Piece(0, calls=(call,)), Piece(0, "b", finish="length")]
    found = response_object(Answered("resp_1", 0, "m", None), [pieces], Usage(1, 0, 1))["output"]
    assert [one["type"] for one in found] == ["message", "function_call", "message"]
    assert [one["status"] for one in found] == ["completed", "completed", "incomplete"]
    assert len({one["id"] for one in found}) == 3


def test_a_function_that_is_named_is_called_once() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    named = read(tools=[tool], tool_choice={"type": "function", "name": "f"})
    assert named.tool_choice.name == "f" and not named.parallel_tool_calls
    assert read(tools=[tool], tool_choice="required").parallel_tool_calls


def test_of_allowed_tools_the_model_is_told_of_those_alone() -> None:
    tools = [{"type": "function", "name": name} for name in "fgh"]
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [tools[0], tools[2]]}
    asked = read(tools=tools, tool_choice=allowed)
    assert [one["function"]["name"] for one in asked.offered_tools] == ["f", "h"]
    assert (asked.tool_choice.mode, asked.echoed["tool_choice"]) == ("required", allowed)
    with pytest.raises(ApiError, match="no tool is called 'x'"):
        read(tools=tools, tool_choice=allowed | {"tools": [{"type": "function", "name": "x"}]})


def test_a_response_tells_the_settings_it_was_drawn_with() -> None:
    ask = read(temperature=0.25)
    who = Answered("resp_1", 0, "m", None, sampling=ask.sampling)
    body = response_object(who, [[Piece(0, "a", finish="stop")]], Usage(1, 0, 1))
    assert (body["temperature"], body["top_p"]) == (0.25, SamplingConfig().top_p)


def test_a_response_tells_what_was_asked_for_again() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    asked = {
        **{"metadata": {"a": "b"}, "previous_response_id": "resp_0"},
        **{"instructions": "be brief", "max_output_tokens": 7, "parallel_tool_calls": False},
        **{"tool_choice": {"type": "function", "name": "f"}, "tools": [tool]},
    }
    for given, told in (
        (asked, asked),
        ({}, dict(zip(asked, ({}, None, None, None, True, "auto", []), strict=True))),
    ):
        ask = read(**given)
        who = Answered("resp_1", 0, "m", None, sampling=ask.sampling, echoed=ask.echoed)
        body = response_object(who, [[Piece(0, "a", finish="stop")]], Usage(1, 0, 1))
        assert {name: body[name] for name in told} == told


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
