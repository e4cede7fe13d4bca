"""Blocks of messages, written and read."""

from typing import Any

import pytest

from llmkit.server.answer import ExecutedTool, Piece, ToolCall
from llmkit.server.errors import ApiError
from llmkit.server.wire.message_blocks import answer_blocks, given_object, read_blocks

RAN = ExecutedTool(0, "call_1", "sums", '{"x": 1}', "391", failed=False)
FAILED = ExecutedTool(1, "call_2", "sums", "not json", "no", failed=True)


def test_what_was_executed_stands_at_its_place_in_the_text() -> None:
    pieces = [Piece(0, "I "), Piece(0, "add."), Piece(0, executed=(RAN, FAILED)), Piece(0, "It is 391.")]
    blocks = answer_blocks(
        [*pieces, Piece(0, calls=(ToolCall(0, "call_3", "own", "{}"),), finish="tool_calls")]
    )
    assert [one["type"] for one in blocks] == [
        *("text", "mcp_tool_use", "mcp_tool_result", "mcp_tool_use", "mcp_tool_result", "text", "tool_use"),
    ]
    assert [blocks[0]["text"], blocks[5]["text"]] == ["I add.", "It is 391."]
    assert blocks[1] == {
        **{"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "sums", "server_name": "llmkit"},
        "input": {"x": 1},
    }
    assert (blocks[3]["input"], blocks[4]["is_error"]) == ({}, True)
    assert answer_blocks([Piece(0, finish="stop")]) == [{"type": "text", "text": ""}]


def test_text_stands_before_and_after_the_calls_as_it_came() -> None:
    call = ToolCall(0, "call_1", "own", "{}")
    blocks = answer_blocks([Piece(0, "a"), Piece(0, calls=(call,)), Piece(0, "b"), Piece(0, finish="stop")])
    assert [one.get("text", one["type"]) for one in blocks] == ["a", "tool_use", "b"]


def test_an_answer_sent_back_as_it_came_becomes_the_turns_that_the_model_saw() -> None:
    blocks = answer_blocks([Piece(0, "I add."), Piece(0, executed=(RAN,)), Piece(0, "It is 391.")])
    call = {"id": "mcptoolu_1", "type": "function", "function": {"name": "sums", "arguments": {"x": 1}}}
    assert read_blocks("assistant", blocks, "m") == [
        {"role": "assistant", "content": "I add.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "mcptoolu_1", "content": "391"},
        {"role": "assistant", "content": "It is 391."},
    ]


def test_results_of_a_clients_own_calls_come_before_what_it_says() -> None:
    blocks: list[Any] = [
        {"type": "text", "text": "there"},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "7"}]},
    ]
    assert read_blocks("user", blocks, "m") == [
        {"role": "tool", "tool_call_id": "t", "content": "7"},
        {"role": "user", "content": "there"},
    ]
    assert read_blocks("user", [], "m") == [{"role": "user", "content": ""}]


@pytest.mark.parametrize("block", [{"type": "image"}, "text", {"type": "mcp_tool_use", "id": "a"}])
def test_a_block_that_is_not_read_is_named_by_its_place(block: Any) -> None:
    with pytest.raises(ApiError) as caught:
        read_blocks("user", [{"type": "text", "text": "a"}, block], "messages[0].content")
    assert caught.value.param == "messages[0].content[1]"


def test_arguments_that_are_no_object_are_none() -> None:
    assert [given_object(one) for one in ('{"a": 1}', "[1]", "{", "[" * 100_000)] == [{"a": 1}, {}, {}, {}]


def test_thoughts_that_are_sent_back_are_thoughts_of_their_turn() -> None:
    blocks = answer_blocks([Piece(0, thought="So"), Piece(0, thought="?"), Piece(0, "Yes.")])
    assert [one["type"] for one in blocks] == ["thinking", "text"] and blocks[0]["thinking"] == "So?"
    turn = {"role": "assistant", "content": "Yes.", "reasoning_content": "So?"}
    assert read_blocks("assistant", blocks, "m") == [turn]
    with pytest.raises(ApiError):
        read_blocks("user", blocks, "m")


@pytest.mark.parametrize(
    ("block", "needs"),
    [
        ({"type": "text"}, "a text"),
        ({"type": "tool_use", "id": "t", "name": "f", "input": "{}"}, "an input, which is an object"),
        ({"type": "tool_result", "content": "x"}, "a tool_use_id"),
        ({"type": "thinking", "thinking": "x"}, "in an assistant's message"),
    ],
)
def test_a_block_of_a_known_type_is_told_what_it_lacks(block: Any, needs: str) -> None:
    with pytest.raises(ApiError, match=needs):
        read_blocks("user", [block], "messages[0].content")
