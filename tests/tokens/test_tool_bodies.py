"""Insides of calls, a character at a time."""

import json

import pytest

from llmkit.tokens.tool_bodies import (
    Reading,
    arguments_of,
    calls_in,
    json_text,
    loads,
    name_until,
    until,
    xml_body,
)
from llmkit.tokens.tool_calls import Body, FoundCall, NotACall


def run(reading: Reading | Body, text: str) -> tuple[object, str]:
    """What a reading returns, and what it left of the text."""
    next(reading)
    for place, char in enumerate(text):
        try:
            reading.send(char)
        except StopIteration as done:
            return done.value, text[place + 1 :]
    raise AssertionError("it wants more")


@pytest.mark.parametrize(
    "value", [{}, {"a": [{"b": '}]\\"'}]}, {"": "\\"}, {"x": '"{['}, [[], {}, "é🙂"], {"n": 1.5, "t": None}]
)
def test_json_ends_where_json_ends(value: object) -> None:
    text = json.dumps(value)
    assert run(json_text(text[0]), text[1:] + " }rest") == (text, " }rest")


def test_a_first_key_that_no_call_has_ends_it_early() -> None:
    with pytest.raises(NotACall):
        run(json_text("{", first_keys=("name",)), '"nam": "')


def test_an_end_may_begin_again_inside_itself() -> None:
    assert run(until("aab"), "aaabc") == ("a", "c")
    with pytest.raises(NotACall):
        run(until(">", most=3), "abcdefgh")


def test_names_have_no_other_letters_than_functions_have() -> None:
    assert run(name_until(">"), "get.x-1_B>") == ("get.x-1_B", "")
    for wrong in ("a b>", ">", "é>", f"{'a' * 65}>"):
        with pytest.raises(NotACall):
            run(name_until(">"), wrong)


def test_calls_are_read_by_any_of_their_names() -> None:
    for told in (
        '{"name": "f", "arguments": {"a": 1}}',
        '{"name": "f", "parameters": {"a": 1}}',
        '{"tool_name": "f", "parameters": {"a": 1}}',
        '{"type": "function", "function": {"name": "f", "arguments": "{\\"a\\": 1}"}}',
    ):
        assert calls_in(told) == (FoundCall("f", '{"a": 1}'),)


def test_arguments_are_an_object_that_can_be_sent() -> None:
    assert arguments_of('{"a": "é"}') == '{"a": "é"}'
    for wrong in ("[1]", "3", "x", [1], None):
        with pytest.raises(NotACall):
            arguments_of(wrong)
    for wrong in ("[NaN]", "[1e999]", '["\\ud800"]', "[" * 100_000, "[1" + "0" * 5000 + "]"):
        with pytest.raises(NotACall):
            loads(wrong)


def test_values_in_marks_are_texts_where_the_schema_says_so() -> None:
    properties = {"t": {"type": "string"}, "n": {"type": "integer"}, "l": {"type": "array"}}
    told = (
        "<parameter=t>\n12\n</parameter>\n<parameter=n>\n12\n</parameter>\n<parameter=l>[1, 2]</parameter>"
        "<parameter=u>\nfree text\n</parameter><parameter=e>\n</parameter></function>"
    )
    body = xml_body({"f": {"properties": properties}}, opened=True)
    found, left = run(body, "f>\n" + told)
    assert isinstance(found, tuple) and left == ""
    assert json.loads(found[0].arguments) == {"t": "12", "n": 12, "l": [1, 2], "u": "free text", "e": ""}
