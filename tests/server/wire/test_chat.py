"""Chat bodies as they are asked, and chat answers as they are told."""

from typing import Any

import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.server.answer import Answered, Piece, ToolCall, Usage
from llmkit.server.errors import ApiError
from llmkit.server.wire.chat import ChatRequest, chat_chunk, chat_object, read_chat
from llmkit.server.wire.sampling import WireLimits

HELLO = [{"role": "user", "content": "hello"}]
WHO = Answered("id", 0, "m", None)


def read(**given: Any) -> Any:
    body = ChatRequest(**{"messages": HELLO, **given})
    return read_chat(body, SamplingConfig(), WireLimits(), max_tokens=99)


def test_a_reply_is_as_long_as_the_context_where_nothing_is_said() -> None:
    assert read().sampling.max_tokens == 99
    assert read(max_completion_tokens=5).sampling.max_tokens == 5 == read(max_tokens=5).sampling.max_tokens


def test_a_reply_with_scores_of_which_no_length_is_said_ends_where_scores_do() -> None:
    body = {"messages": HELLO, "logprobs": True, "top_logprobs": 20}

    def most(**given: Any) -> int:
        told = ChatRequest(**body | given)
        return read_chat(told, SamplingConfig(), WireLimits(scores=2100), max_tokens=999).sampling.max_tokens

    assert most() == 100 and most(n=4) == 25 and most(top_logprobs=0) == 999
    assert most(max_tokens=500) == 500  # which is refused, or cut by the context, later


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 99}, "top_logprobs"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"store": True}, "store"),
        ({"chat_template_kwargs": {"tokenize": True}}, "chat_template_kwargs.tokenize"),
        ({"chat_template_kwargs": {"chat_template": "x"}}, "chat_template_kwargs.chat_template"),
        ({"thinking_token_budget": -1}, "thinking_token_budget"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"messages": []}, "messages"),
    ],
)
def test_what_cannot_be_followed_is_named(given: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(**given)
    assert caught.value.param == param


def test_what_asks_for_nothing_is_taken() -> None:
    read(store=False, metadata={}, functions=[], modalities=["text"], service_tier="auto", best_of=1)
    assert read(prompt_cache_retention="in_memory") == read(prompt_cache_retention=None)


def test_a_function_that_is_named_is_called_once() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    named = read(tools=tools, tool_choice={"type": "function", "function": {"name": "f"}})
    assert named.tool_choice.name == "f" and not named.parallel_tool_calls
    assert read(tools=tools, tool_choice="required").parallel_tool_calls
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": tools[:1]}}
    of_one = read(tools=[*tools, {"type": "function", "function": {"name": "g"}}], tool_choice=allowed)
    assert [one["function"]["name"] for one in of_one.offered_tools] == ["f"]
    assert of_one.tool_choice.mode == "required"


def test_calls_take_the_place_of_an_empty_text() -> None:
    call = ToolCall(0, "call_1", "add", '{"a": 1}')
    last = Piece(0, calls=(call,), finish="tool_calls")
    choice = chat_object(WHO, [[last]], Usage())["choices"][0]
    assert choice["message"]["content"] is None and choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert chat_chunk(WHO, last, None)["choices"][0]["delta"]["tool_calls"][0]["index"] == 0


def test_thoughts_stand_beside_the_content_whole_or_in_pieces() -> None:
    pieces = [Piece(0, thought="I "), Piece(0, thought="add."), Piece(0, "7"), Piece(0, finish="stop")]
    who, usage = Answered("chatcmpl-1", 0, "m", None), Usage(1, 0, 4, 3)
    whole = chat_object(who, [pieces], usage)
    message = whole["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("7", "I add.")
    assert whole["usage"]["completion_tokens_details"] == {"reasoning_tokens": 3}
    deltas = [chat_chunk(who, piece, None)["choices"][0]["delta"] for piece in pieces]
    assert deltas == [{"reasoning_content": "I "}, {"reasoning_content": "add."}, {"content": "7"}, {}]
    silent = chat_object(who, [[Piece(0, "7", finish="stop")]], usage)
    assert "reasoning_content" not in silent["choices"][0]["message"]
