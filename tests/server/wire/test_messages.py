"""Anthropic's bodies are OpenAI's conversations in other words."""

from typing import Any

import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.server.answer import Answered, Piece, ToolCall, Usage
from llmkit.server.errors import ApiError
from llmkit.server.wire.messages import MessagesRequest, message_object, read_anthropic
from llmkit.server.wire.sampling import WireLimits

WHO = Answered("msg_1", 0, "m", None)


def read(messages: list[dict[str, Any]], **given: Any) -> Any:
    body = MessagesRequest(messages=messages, **{"max_tokens": 5, **given})
    return read_anthropic(body, SamplingConfig(), WireLimits())


def test_system_blocks_calls_and_results_become_turns() -> None:
    ask = read(
        [
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "2"}]},
        ],
        system="be brief",
        tools=[{"name": "f", "input_schema": {"type": "object"}}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
    )
    assert [one["role"] for one in ask.messages] == ["system", "user", "assistant", "tool"]
    assert ask.messages[1]["content"] == "ab" and ask.messages[3]["tool_call_id"] == "1"
    assert ask.tool_choice.mode == "required" and not ask.parallel_tool_calls


def test_the_system_may_speak_in_the_middle_of_a_conversation_and_says_text_alone() -> None:
    said = {"role": "user", "content": "a"}
    text, parts = "Brief.", [{"type": "text", "text": "Brief."}]
    for content in (text, parts):
        ask = read([said, {"role": "system", "content": content}, said], system="S")
        turns = [{"role": "system", "content": "S"}, said, {"role": "system", "content": text}, said]
        assert list(ask.messages) == turns
    call = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
    with pytest.raises(ApiError) as caught:
        read([said, {"role": "system", "content": [call]}])
    assert caught.value.param == "messages[1].content[0]"


def test_an_assistants_last_turn_is_what_the_reply_begins_with() -> None:
    ask = read([{"role": "user", "content": "a"}, {"role": "assistant", "content": "Well"}])
    assert ask.prefill == "Well" and len(ask.messages) == 1


def test_that_nothing_is_to_be_thought_the_template_is_told() -> None:
    messages = [{"role": "user", "content": "a"}]
    silent = read(messages, thinking={"type": "disabled"})
    assert silent.template_kwargs == {"enable_thinking": False, "thinking": False}
    begun = {"role": "assistant", "content": [{"type": "thinking", "thinking": "So"}]}
    with pytest.raises(ApiError) as caught:
        read([*messages, begun])
    assert caught.value.param == f"messages[{len(messages)}]"
    for kind in ("adaptive", "enabled"):
        thoughtful = read(messages, thinking={"type": kind})
        assert thoughtful.template_kwargs == {"enable_thinking": True, "thinking": True}
        assert thoughtful.thinking_budget is None
    bounded = read(messages, thinking={"type": "enabled", "budget_tokens": 10, "display": "summarized"})
    whole = read(messages, thinking={"type": "enabled", "budget_tokens": 10.0})
    assert (
        whole.thinking_budget == bounded.thinking_budget == 10
        and bounded.template_kwargs == thoughtful.template_kwargs
    )
    assert read(messages).template_kwargs == {}


def test_a_hint_for_the_cache_changes_nothing() -> None:
    messages = [{"role": "user", "content": "a"}]
    for hint in ({"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}, None):
        assert read(messages, cache_control=hint, speed="standard") == read(messages)


def test_a_tool_may_be_strict() -> None:
    tools = [{"name": "f", "input_schema": {}, "strict": True}, {"name": "g", "input_schema": {}}]
    said = [
        one["function"].get("strict") for one in read([{"role": "user", "content": "a"}], tools=tools).tools
    ]
    assert said == [True, None]


def test_a_format_of_the_output_is_a_rule() -> None:
    wanted = {"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": None}
    ask = read([{"role": "user", "content": "a"}], output_config=wanted)
    assert ask.sampling.json_schema == '{"type":"object"}'
    assert ask.names["json_schema"] == "output_config.format"
    assert read([{"role": "user", "content": "a"}], output_config={"format": None}).sampling.rule is None


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"output_config": {"effort": "high"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "text"}}}, "output_config.format"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": True}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1.5}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "adaptive", "budget_tokens": 10}}, "thinking"),
        ({"thinking": {"display": "summarized"}}, "thinking"),
        ({"thinking": {}}, "thinking"),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, "thinking"),
        ({"metadata": {"x": 1}}, "metadata"),
        ({"cache_control": {"type": "forever"}}, "cache_control"),
        ({"speed": "fast"}, "speed"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"tools": [{"type": "web_search", "name": "w"}]}, "tools[0]"),
    ],
)
def test_what_cannot_be_followed_is_named(given: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read([{"role": "user", "content": "a"}], **given)
    assert caught.value.param == param


def test_a_thread_is_refused_in_the_words_by_which_clients_go_on_without() -> None:
    with pytest.raises(ApiError) as caught:
        read([{"role": "user", "content": "a"}], thread={"type": "create"})
    body = caught.value.body("anthropic")["error"]
    assert caught.value.param == "thread" and body["type"] == "invalid_request_error"
    assert body["details"] == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
    assert "details" not in caught.value.body("openai")["error"]
    read([{"role": "user", "content": "a"}], thread=None)


def test_an_image_is_refused_and_not_fetched() -> None:
    block = {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:1/"}}
    with pytest.raises(ApiError, match="of type 'image'"):
        read([{"role": "user", "content": [block]}])


def test_an_answer_is_blocks_and_a_reason() -> None:
    call = ToolCall(0, "call_1", "f", '{"x": 1}')
    pieces = [Piece(0, "so"), Piece(0, calls=(call,), finish="tool_calls")]
    body = message_object(WHO, [pieces], Usage(10, 4, 2))
    assert body["content"] == [
        {"type": "text", "text": "so"},
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {"x": 1}},
    ]
    assert body["stop_reason"] == "tool_use" and body["usage"]["input_tokens"] == 6
    stopped = message_object(WHO, [[Piece(0, "a", finish="stop", matched="END")]], Usage())
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", "END")
