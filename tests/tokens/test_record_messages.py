"""Data sets write the same messages in several ways."""

import json
from typing import Any

import msgspec
import pytest

from llmkit.formats.jsonl import Line
from llmkit.tokens.audit import ExampleError
from llmkit.tokens.record_messages import (
    is_left_out,
    led_by_system,
    read_history,
    read_messages,
    read_system,
    read_tools,
)

USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be kind"}


def line(record: dict[str, Any]) -> Line:
    return Line(msgspec.json.decode(json.dumps(record), type=dict[str, msgspec.Raw]), "x.jsonl", 3)


@pytest.mark.parametrize(
    "written",
    [
        [USER, ANSWER],
        [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}],
        [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, ANSWER],
    ],
)
def test_roles_and_content_and_the_turns_of_sharegpt_are_the_same_messages(written: Any) -> None:
    assert read_messages(line({"said": written}), "said") == [USER, ANSWER]


@pytest.mark.parametrize("mark", [{"weight": 0}, {"train": False}, {"training": False}])
def test_what_says_that_an_answer_is_not_learnt_is_kept(mark: dict[str, Any]) -> None:
    for answer in (ANSWER | mark, {"from": "gpt", "value": "Hello", **mark}):
        (message,) = read_messages(line({"said": answer}), "said")
        assert is_left_out(message)
    assert not any(
        map(is_left_out, (ANSWER, ANSWER | {"weight": 1}, ANSWER | {"train": True, "weight": None}))
    )


def test_a_single_message_needs_no_list_around_it() -> None:
    assert read_messages(line({"chosen": {"from": "gpt", "value": "Hello"}}), "chosen") == [ANSWER]
    assert read_messages(line({"chosen": ANSWER}), "chosen") == [ANSWER]


def test_a_turn_from_a_function_call_is_an_answer_that_calls_functions() -> None:
    call = {"name": "add", "arguments": {"a": 1}}
    for value, number in ((json.dumps(call), 1), (json.dumps([call, call]), 2)):
        (message,) = read_messages(line({"said": [{"from": "function_call", "value": value}]}), "said")
        assert message["role"] == "assistant"
        assert message["tool_calls"] == [{"type": "function", "function": call}] * number
    with pytest.raises(ExampleError, match="turn 0 calls a function in no JSON"):
        read_messages(line({"said": [{"from": "function_call", "value": "add(1)"}]}), "said")


def test_a_records_system_message_stands_first_and_once() -> None:
    record = line({"system": "Be kind"})
    assert read_system(record) == "Be kind" and read_system(line({})) is None
    assert led_by_system(record, [USER]) == led_by_system(record, [SYSTEM, USER]) == [SYSTEM, USER]
    for empty in ({}, {"system": None}, {"system": ""}):
        assert led_by_system(line(empty), [USER]) == [USER]


def test_two_system_messages_of_one_record_are_a_fault() -> None:
    with pytest.raises(ExampleError, match="messages that begin with another"):
        led_by_system(line({"system": "Be rude"}), [SYSTEM, USER])


def test_a_history_is_what_was_asked_and_answered_before() -> None:
    assert read_history(line({"history": [["Hi", "Hello"]]})) == [USER, ANSWER]
    assert read_history(line({"history": None})) == read_history(line({})) == []


def test_tools_may_be_a_list_as_text() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert read_tools(line({"tools": tools})) == read_tools(line({"tools": json.dumps(tools)})) == tools
    assert read_tools(line({"tools": ""})) is read_tools(line({})) is None
