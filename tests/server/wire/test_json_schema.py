"""Schemas as a validator of another make reads them."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from llmkit.server.wire.json_schema import (
    FLAG,
    NULL,
    SOME_TEXT,
    TEXT,
    Schema,
    array,
    clash,
    either,
    integer,
    lacking,
    none_of,
    number,
    one_of,
    or_null,
    record,
    reference,
)


def fits(schema: Schema, value: Any) -> bool:
    Draft202012Validator.check_schema(schema)
    return bool(Draft202012Validator(schema).is_valid(value))


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (either(TEXT, FLAG), ["a", True], [1, None]),
        (or_null(SOME_TEXT), ["a", None], [""]),
        (one_of(None, False, []), [None, False, []], [0, "", {}]),
        (number(minimum=0, exclusiveMaximum=2), [0, 1.5], [2, -1, "1"]),
        (integer(minimum=1, maximum=None), [1, 10**30], [0, 1.5, True]),
        (array(NULL, least=1, most=2), [[None], [None, None]], [[], [None] * 3, [1]]),
        (record({"a": TEXT}, required=("a",)), [{"a": "b"}], [{}, {"a": 1}, {"a": "b", "c": 1}]),
        (record({"a": TEXT}, more=True), [{}, {"c": 1}], [{"a": 1}]),
        (clash(a=one_of(1), b=TEXT), [{"a": 1, "b": ""}], [{"a": 1}, {"a": 2, "b": ""}]),
        (lacking(clash(a=one_of(1)), b=TEXT), [{"a": 1}, {"a": 1, "b": 2}], [{"a": 1, "b": ""}, {"b": 2}]),
        (none_of(clash(a=TEXT), clash(b=FLAG)), [{}, {"a": 1}, {"c": ""}], [{"a": ""}, {"b": True}]),
    ],
)
def test_a_schema_takes_what_its_name_says_and_nothing_else(
    schema: Schema, good: list[Any], bad: list[Any]
) -> None:
    assert all(fits(schema, one) for one in good) and not any(fits(schema, one) for one in bad)


def test_a_reference_leads_into_the_documents_components() -> None:
    whole = reference("A") | {"components": {"schemas": {"A": {"type": "integer"}}}}
    assert fits(whole, 1) and not fits(whole, "a")
