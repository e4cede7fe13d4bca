"""Descriptions of functions in the words of four houses, and arguments that do not fit."""

import json
from typing import Any

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.retrieve.tools.config import ToolError, ToolLimits, ToolSpec, read_spec

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": ["string", "null"]}, "c": {"enum": ["x", "y"]}},
    "required": ["a"],
}


@pytest.mark.parametrize(
    "told",
    [
        {"name": "f", "description": "d", "parameters": SCHEMA},
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}},
        {"name": "f", "description": "d", "inputSchema": SCHEMA},
        {"name": "f", "description": "d", "input_schema": SCHEMA},
        {**SCHEMA, "title": "f", "description": "d"},
    ],
)
def test_openais_anthropics_mcps_and_a_bare_schema_say_the_same(told: dict[str, Any]) -> None:
    spec = read_spec(json.dumps(told), "here")
    assert (spec.name, spec.description) == ("f", "d")
    assert {key: spec.parameters[key] for key in SCHEMA} == SCHEMA
    assert read_spec(json.dumps(spec.function), "here") == spec


def test_a_name_that_is_given_wins_and_a_schema_without_properties_has_none() -> None:
    assert read_spec('{"name": "f"}', "here", "g") == ToolSpec("g", "", {"type": "object", "properties": {}})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ('{"description": "d"}', "no name"),
        ('{"name": "a b"}', "no name"),
        ('{"name": "f", "parameters": {"type": "string"}}', "not of an object"),
        ('{"name": "f", "parameters": {"properties": []}}', "properties"),
        ('{"name": "f", "parameters": {"required": "a"}}', "required"),
        ('{"name": "f", "description": 1}', "description"),
    ],
)
def test_what_is_no_description_is_refused_by_its_source(content: str, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        read_spec(content, "weather.json")
    assert caught.value.problem.startswith("weather.json: ")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "needs a"),
        ({"a": 1, "z": 1}, "no argument 'z'"),
        ({"a": "1"}, "must be integer"),
        ({"a": True}, "must be integer"),
        ({"a": 1.5}, "must be integer"),
        ({"a": 1, "b": 2}, "must be string or null"),
        ({"a": 1, "c": "z"}, "must be one of"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ToolError, match=why):
        ToolSpec("f", "", SCHEMA).check(arguments)


def test_arguments_that_fit_pass() -> None:
    spec = ToolSpec("f", "", SCHEMA)
    for arguments in ({"a": 1}, {"a": 2.0, "b": None}, {"a": 1, "b": "x", "c": "y"}):
        spec.check(arguments)
    ToolSpec("f", "", {**SCHEMA, "additionalProperties": True}).check({"a": 1, "z": 1})


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="some time"):
        ToolLimits(seconds=0)
    with pytest.raises(UsageError, match="a result has a byte"):
        ToolLimits(output_bytes=0)
