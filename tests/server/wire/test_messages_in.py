"""Messages: text in one piece, what is not text refused, nothing fetched."""

from typing import Any

import pytest

from llmkit.server.errors import ApiError
from llmkit.server.wire.messages_in import read_messages, read_template_kwargs


def test_parts_are_put_together_and_a_developer_is_the_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read_messages([{"role": "developer", "content": parts}]) == ({"role": "system", "content": "ab"},)


def test_arguments_of_earlier_calls_are_objects_for_the_template() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    (message,) = read_messages([{"role": "assistant", "content": None, "tool_calls": [call]}])
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": {"x": 1}}
    assert message["content"] == ""


def test_a_template_is_told_what_cannot_change_how_it_is_run() -> None:
    told = read_template_kwargs({"enable_thinking": False}, "low")
    assert told == {"enable_thinking": False, "reasoning_effort": "low"}
    silent = {"enable_thinking": False, "thinking": False, "reasoning_effort": "none"}
    assert read_template_kwargs(None, "none") == silent
    assert read_template_kwargs({"thinking": True}, "none") == silent | {"thinking": True}
    with pytest.raises(ApiError) as caught:
        read_template_kwargs({"chat_template": "x"})
    assert caught.value.param == "chat_template_kwargs.chat_template"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "robot", "content": "a"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "content": "a", "weight": 1}, "messages[0].weight"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.0.1/"}}]},
            "messages[0].content[0]",
        ),
        ({"role": "user", "content": [{"type": "text", "text": 1}]}, "messages[0].content[0].text"),
        ({"role": "user", "content": "a", "tool_calls": [{}]}, "messages[0].tool_calls"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
    ],
)
def test_what_is_wrong_with_a_message_is_named_to_the_key(message: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_messages([message])
    assert caught.value.param == param
