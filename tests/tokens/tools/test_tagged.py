"""Arguments between marks of their own: where a value begins and ends, and what it is by its schema."""

import json
from typing import Any

import pytest

from llmkit.tokens.tools.calls import NotACall
from llmkit.tokens.tools.tagged import GLM, MINIMAX, QWEN, SEED, Tags, tagged_body, typed
from tests.tokens.read_through import read_through

PROPERTIES = {"t": {"type": "string"}, "n": {"type": "integer"}, "l": {"type": "array"}}
SCHEMAS = {"f": {"properties": PROPERTIES}}


def test_values_in_marks_are_texts_where_the_schema_says_so() -> None:
    told = (
        "<parameter=t>\n12\n</parameter>\n<parameter=n>\n12\n</parameter>\n<parameter=l>[1, 2]</parameter>"
        "<parameter=u>\nfree text\n</parameter><parameter=e>\n</parameter></function>"
    )
    found, left = read_through(tagged_body(QWEN, SCHEMAS, opened=True), "f>\n" + told)
    assert isinstance(found, tuple) and left == ""
    assert json.loads(found[0].arguments) == {"t": "12", "n": 12, "l": [1, 2], "u": "free text", "e": ""}


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        (
            GLM,
            "f\n<arg_key>t</arg_key>\n<arg_value>\na<b\n</arg_value>\n<arg_key>n</arg_key>\n"
            "<arg_value>7</arg_value>\n</tool_call>",
        ),
        (
            GLM,  # GLM-4.7 writes no ends of lines
            "f<arg_key>t</arg_key><arg_value>\na<b\n</arg_value>"
            "<arg_key>n</arg_key><arg_value>7</arg_value></tool_call>",
        ),
        (
            MINIMAX,
            '\n<invoke name="f">\n<parameter name="t">\na<b\n</parameter>\n'
            '<parameter name="n">7</parameter>\n</invoke>',
        ),
        (SEED, "\n<function=f>\n<parameter=t>\na<b\n</parameter>\n<parameter=n>7</parameter>\n</function>"),
    ],
)
def test_a_text_keeps_the_ends_of_lines_that_stand_within_its_marks(tags: Tags, text: str) -> None:
    found, left = read_through(tagged_body(tags, SCHEMAS), text + "rest")
    assert isinstance(found, tuple) and left == "rest"
    assert (found[0].name, json.loads(found[0].arguments)) == ("f", {"t": "\na<b\n", "n": 7})


@pytest.mark.parametrize("text", ["now</tool_call>", "now\n</tool_call>", '{"name": "now", "arguments": {}}'])
def test_a_call_may_have_no_arguments(text: str) -> None:
    found, left = read_through(tagged_body(GLM, {}), text)
    assert isinstance(found, tuple) and left == ""
    assert (found[0].name, found[0].arguments) == ("now", "{}")


@pytest.mark.parametrize("text", ["a b<x>", "f<arg_key>k</arg_key>no", "f<arg_key>k</arg_key></tool_call>"])
def test_what_has_other_marks_is_no_call(text: str) -> None:
    with pytest.raises(NotACall):
        read_through(tagged_body(GLM, {}), text)


OPTIONAL_TEXT = {"anyOf": [{"type": "string"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("12", {"type": "string"}, "12"),
        ("12", {"type": "integer"}, 12),
        ("12", {"type": ["string", "null"]}, "12"),
        ("null", {"type": ["string", "null"]}, None),
        ('"a"', OPTIONAL_TEXT, '"a"'),
        ("12345", OPTIONAL_TEXT, "12345"),
        ("12", {"type": ["string", "number"]}, 12),
        ("12", {"enum": ["12", "13"]}, "12"),
        ("12", {"const": "12"}, "12"),
        ("12", {}, 12),
        ("free text", {}, "free text"),
        ("True", {"type": "boolean"}, True),
        ("True", {}, "True"),
        ("{'a': [None]}", {"type": "object"}, {"a": [None]}),
        ("{1, 2}", {"type": "array"}, "{1, 2}"),
        ("__import__('os')", {"type": "object"}, "__import__('os')"),
    ],
)
def test_the_schema_says_what_a_value_is(text: str, schema: Any, value: Any) -> None:
    found = typed(text, schema)
    assert found == value and type(found) is type(value)
