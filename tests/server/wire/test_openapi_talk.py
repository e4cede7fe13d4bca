"""Which choices of tools the document allows: worked out by hand, and held to a validator of JSON schemas."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from llmkit.server.wire.json_schema import none_of, one_of
from llmkit.server.wire.openapi_sampling import Facts
from llmkit.server.wire.openapi_talk import chat_fields, forced, template_kwargs

FREE = one_of(None, "none", "auto")
MAY_CALL = {"type": "allowed_tools", "mode": "auto", "tools": [{}]}
TOOLS: dict[str, Any] = {"tools": [{}]}


@pytest.mark.parametrize(
    ("body", "allowed"),
    [
        ({}, True),
        ({"tool_choice": "auto"}, True),
        ({"tool_choice": "required"}, False),
        ({"tool_choice": "required", "tools": []}, False),
        ({"tool_choice": MAY_CALL}, False),
        ({**TOOLS, "tool_choice": "required"}, True),
        ({**TOOLS, "tool_choice": "required", "regex": None}, True),
        ({**TOOLS, "tool_choice": "required", "regex": "a"}, False),
        ({**TOOLS, "tool_choice": MAY_CALL, "regex": "a"}, True),
        ({**TOOLS, "tool_choice": "auto", "regex": "a"}, True),
        ({"regex": "a"}, True),
    ],
)
def test_a_call_is_asked_for_of_tools_that_are_there_and_not_beside_a_rule(
    body: dict[str, Any], allowed: bool
) -> None:
    assert Draft202012Validator(none_of(*forced(FREE, ("regex",)))).is_valid(body) == allowed


def test_passages_are_only_allowed_where_there_is_an_index() -> None:
    told = {has: chat_fields(Facts(has_index=has))["retrieve"] for has in (True, False)}
    assert Draft202012Validator(told[True]).is_valid(True)
    assert not Draft202012Validator(told[False]).is_valid(True)
    assert Draft202012Validator(told[False]).is_valid(False)


def test_a_template_is_told_only_what_templates_are_known_to_ask() -> None:
    schema = Draft202012Validator(template_kwargs())
    assert schema.is_valid({"enable_thinking": False}) and not schema.is_valid({"thinking_of": 1})
