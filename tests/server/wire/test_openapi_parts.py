"""What is nested in bodies: the schemas and the functions that read it say the same of what clients send."""

from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from llmkit.server.errors import ApiError
from llmkit.server.wire.message_blocks import read_blocks
from llmkit.server.wire.messages_in import read_messages
from llmkit.server.wire.openapi_parts import PARTS
from llmkit.server.wire.response_items import read_items
from llmkit.server.wire.rules import read_format
from llmkit.server.wire.tools import read_tool_choice, read_tools

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
TOOL = {"type": "function", "function": {"name": "f"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL]}}


def allowed(name: str, value: Any) -> bool:
    whole = PARTS[name] | {"components": {"schemas": PARTS}}
    return bool(Draft202012Validator(whole).is_valid(value))


def read(work: Callable[[], Any]) -> bool:
    try:
        work()
    except ApiError as error:
        assert error.status == 400
        return False
    return True


def blocks(message: dict[str, Any]) -> Any:
    turns = read_blocks(message["role"], message["content"], "content")
    return read_messages(turns)


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize(
    ("name", "reader", "values"),
    [
        (
            "ChatMessage",
            lambda one: read_messages([one]),
            (
                [
                    {"role": "user", "content": "a"},
                    {"role": "developer", "content": [{"type": "text", "text": "a", "cache": 1}]},
                    {"role": "assistant", "content": None, "tool_calls": [CALL]},
                    {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
                    {"role": "assistant", "content": None, "refusal": "no"},
                    {"role": "tool", "tool_call_id": "c", "content": "1", "name": None},
                ],
                [
                    {"role": "user"},
                    {"role": "user", "content": None},
                    {"role": "someone", "content": "a"},
                    {"role": "user", "content": "a", "more": 1},
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}]},
                    {"role": "user", "content": "a", "tool_calls": [CALL]},
                    {"role": "user", "content": "a", "name": 1},
                    {"role": "user", "content": "a", "audio": {}},
                    {"role": "assistant", "tool_calls": [{"id": "c"}]},
                ],
            ),
        ),
        (
            "Tool",
            lambda one: read_tools([one]),
            (
                [TOOL, {**TOOL, "function": {"name": "f-1.x", "parameters": {}, "description": ""}}],
                [
                    {"type": "x", "function": {"name": "f"}},
                    {"type": "function", "function": {"name": "a b"}},
                    {"type": "function", "function": {"name": "f", "parameters": []}},
                    {"type": "function", "function": {"name": "f", "description": 1}},
                ],
            ),
        ),
        (
            "ToolChoice",
            lambda one: read_tool_choice(one, (TOOL,)),
            (
                ["none", "auto", "required", TOOL, {**ALLOWED}, {**ALLOWED, "mode": "auto"}],
                [
                    "any",
                    {"type": "function"},
                    {"type": "x", "function": {"name": "f"}},
                    {"type": "allowed_tools", "mode": "auto", "tools": [TOOL]},
                    {"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": [TOOL]}},
                    {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
                    {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "mcp"}]}},
                ],
            ),
        ),
        (
            "ResponseFormat",
            lambda one: read_format(one, 1000, "response_format"),
            (
                [
                    {"type": "text"},
                    {"type": "json_object", "schema": {"type": "object"}},
                    {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}},
                    {"type": "regex", "regex": "a"},
                    {"type": "grammar", "grammar": "a"},
                    {"type": "choice", "choice": ["a"]},
                ],
                [
                    {},
                    {"type": "x"},
                    {"type": "json_schema"},
                    {"type": "regex"},
                    {"type": "choice", "choice": []},
                ],
            ),
        ),
        (
            "ResponseItem",
            lambda one: read_messages(read_items(None, [one])[0]),
            (
                [
                    {"role": "user", "content": "a"},
                    {"type": "message", "role": "assistant", "content": [], "id": "m", "status": "completed"},
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c", "output": "1"},
                    {"type": "mcp_call", "id": "c", "name": "f", "arguments": "{}", "output": None},
                ],
                [
                    {"role": "user"},
                    {"type": "reasoning", "summary": []},
                    {"type": "function_call", "name": "f", "arguments": {}},
                    {"type": "function_call_output", "output": "1"},
                ],
            ),
        ),
        (
            "AnthropicMessage",
            blocks,
            (
                [
                    {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}],
                    },
                ],
                [
                    {"role": "user", "content": [{"type": "image", "source": {}}]},
                    {"role": "user", "content": [USE]},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f"}]},
                    {"role": "user", "content": [{"type": "tool_result"}]},
                ],
            ),
        ),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_the_schema_and_the_reader_take_and_refuse_the_same(
    name: str, reader: Callable[[Any], Any], values: tuple[list[Any], list[Any]], good: bool
) -> None:
    for value in values[0 if good else 1]:
        assert allowed(name, value) is good, value
        assert read(lambda value=value: reader(value)) is good, value  # type: ignore[misc]


def test_every_schema_is_one() -> None:
    for schema in PARTS.values():
        Draft202012Validator.check_schema(schema)
