"""Items of `/v1/responses` as turns."""

from typing import Any

import pytest

from llmkit.server.errors import ApiError
from llmkit.server.wire.response_items import read_items


def called(**more: Any) -> dict[str, Any]:
    return {"type": "mcp_call", "id": "mcp_1", "name": "f", "arguments": '{"a": 1}', **more}


@pytest.mark.parametrize(
    ("item", "content"),
    [(called(output="7"), "7"), (called(output=None, error="broken"), "broken"), (called(), "")],
)
def test_a_call_that_the_server_made_is_a_call_and_its_result(item: dict[str, Any], content: str) -> None:
    told, places = read_items("be brief", [item, {"role": "user", "content": "so?"}])
    function = {"name": "f", "arguments": '{"a": 1}'}
    assert told == [
        {"role": "system", "content": "be brief"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "mcp_1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "mcp_1", "content": content},
        {"role": "user", "content": "so?"},
    ]
    assert places == ["instructions", "input[0]", "input[0]", "input[1]"]


def test_calls_of_one_turn_stay_together() -> None:
    calls = [
        {"type": "function_call", "call_id": name, "name": "f", "arguments": "{}"} for name in ("a", "b")
    ]
    output = {"type": "function_call_output", "call_id": "a", "output": "7"}
    (turn, result), places = read_items(None, [*calls, output])
    assert [one["id"] for one in turn["tool_calls"]] == ["a", "b"]
    assert result == {"role": "tool", "tool_call_id": "a", "content": "7"}
    assert places == ["input[0]", "input[2]"]


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (
            {"type": "function_call", "call_id": "mcp_1", "name": "f", "arguments": '{"a": 1}'},
            [{"type": "function_call_output", "call_id": "mcp_1", "output": "7"}],
        ),
        (called(output="7"), []),
    ],
)
def test_what_the_assistant_said_before_a_call_is_of_the_same_turn(call: Any, result: list[Any]) -> None:
    said = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Let me see."}],
    }
    asked = {"role": "user", "content": "so?"}
    (user, turn, told), places = read_items(None, [asked, said, call, *result])
    made = {"id": "mcp_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    assert turn == {"role": "assistant", "content": "Let me see.", "tool_calls": [made]}
    assert (user, told) == (asked, {"role": "tool", "tool_call_id": "mcp_1", "content": "7"})
    assert places == ["input[0]", "input[1]", "input[3]" if result else "input[2]"]


@pytest.mark.parametrize(
    "told", ["", [{"type": "mcp_call", "id": "x"}], [{"type": "image"}], [called(output=7)]]
)
def test_what_is_no_item_is_refused_by_its_place(told: Any) -> None:
    with pytest.raises(ApiError) as caught:
        read_items(None, told)
    assert caught.value.status == 400 and str(caught.value.param).startswith("input")


@pytest.mark.parametrize("where", ["content", "summary"])
def test_what_was_thought_is_of_the_turn_that_follows(where: str) -> None:
    kind = "reasoning_text" if where == "content" else "summary_text"
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], where: [{"type": kind, "text": "Add."}]}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "7"}]}
    call = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
    (turn,), places = read_items(None, [thought, said, call])
    assert (turn["content"], turn["reasoning_content"], len(turn["tool_calls"])) == ("7", "Add.", 1)
    assert places == ["input[0]"]
    (called,), _ = read_items(None, [thought, call])
    assert (called["content"], called["reasoning_content"], len(called["tool_calls"])) == ("", "Add.", 1)
    turns, _ = read_items(None, [said, thought, said])
    assert [one.get("reasoning_content") for one in turns] == [None, "Add."]


@pytest.mark.parametrize(
    "parts", [{}, {"encrypted_content": "x", "summary": []}, {"content": [{"type": "x"}]}]
)
def test_thoughts_that_cannot_be_read_are_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        read_items(None, [{"type": "reasoning", **parts}])
    assert caught.value.param is not None and caught.value.param.startswith("input[0]")
