"""Pieces of calls, a character at a time."""

import json

import pytest

from llmkit.tokens.tools.calls import NotACall
from llmkit.tokens.tools.reading import json_text, named, until
from tests.tokens.read_through import read_through


@pytest.mark.parametrize(
    "value", [{}, {"a": [{"b": '}]\\"'}]}, {"": "\\"}, {"x": '"{['}, [[], {}, "é🙂"], {"n": 1.5, "t": None}]
)
def test_json_ends_where_json_ends(value: object) -> None:
    text = json.dumps(value)
    assert read_through(json_text(text[0]), text[1:] + " }rest") == (text, " }rest")


def test_a_first_key_that_no_call_has_ends_it_early() -> None:
    with pytest.raises(NotACall):
        read_through(json_text("{", first_keys=("name",)), '"nam": "')


def test_an_end_may_begin_again_inside_itself() -> None:
    assert read_through(until("aab"), "aaabc") == ("a", "c")
    with pytest.raises(NotACall):
        read_through(until(">", most=3), "abcdefgh")


def test_names_have_no_other_letters_than_functions_have() -> None:
    assert named(" get.x-1_B") == "get.x-1_B"
    for wrong in ("a b", "", "é", "a" * 65):
        with pytest.raises(NotACall):
            named(wrong)
