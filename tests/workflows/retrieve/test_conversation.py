"""The question of a conversation, and a prompt in its place."""

from typing import Any

import msgspec
import pytest

from llmkit.errors import DataError
from llmkit.workflows.retrieve.conversation import question, read_conversation, with_prompt

SYSTEM, USER, REPLY = ({"role": role, "content": role[0]} for role in ("system", "user", "assistant"))
PROMPT = {"role": "user", "content": "prompt"}


def _record(messages: Any) -> dict[str, msgspec.Raw]:
    return {"messages": msgspec.Raw(msgspec.json.encode(messages))}


def test_the_question_is_the_users_last_that_says_something() -> None:
    parts = [{"type": "text", "text": "what "}, {"type": "text", "text": "now?"}]
    image = {"role": "user", "content": [{"type": "image_url"}]}
    talk = [USER, REPLY, {"role": "user", "content": parts}, {"role": "user", "content": " "}, image, REPLY]
    assert question(_record(talk), "f:1") == "what now?"


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([SYSTEM], "f:1: no user says anything"),
        ([], "f:1: no user"),
        ("hi", 'f:1: "messages": '),
        ([1], "f:1"),
    ],
)
def test_messages_without_a_question_are_named(messages: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        question(_record(messages), "f:1")


def test_a_record_without_messages_has_an_empty_conversation() -> None:
    assert read_conversation({}, "f:1") == []


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], [PROMPT]),
        ([SYSTEM], [SYSTEM, PROMPT]),
        ([SYSTEM, USER], [SYSTEM, PROMPT]),
        ([USER, REPLY, USER], [USER, REPLY, PROMPT]),
        ([USER, REPLY], [PROMPT, REPLY]),
    ],
)
def test_a_prompt_takes_the_questions_place(messages: list[Any], expected: list[Any]) -> None:
    assert with_prompt(messages, "u", "prompt") == expected


def test_an_answered_question_that_was_another_stays_and_one_that_is_open_is_put_anew() -> None:
    assert with_prompt([USER, REPLY], "another", "prompt") == [USER, REPLY, PROMPT]
    assert with_prompt([SYSTEM, USER], "in other words", "prompt") == [SYSTEM, PROMPT]
