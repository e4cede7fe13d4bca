"""Rules for a text: whoever's words they come in, the same rule; and none is passed over."""

from typing import Any

import pytest

from llmkit.engine.config import NO_RULE, SamplingConfig
from llmkit.server.errors import ApiError
from llmkit.server.wire.rules import RuleFields, read_format, read_rule

MOST = 1000
GRAMMAR = 'root ::= "a"'
OBJECT = '{"type":"object"}'


def read(**given: Any) -> dict[str, Any]:
    """The rule alone, without the fields that it resets."""
    found = read_rule(RuleFields(**given), MOST)
    return {name: value for name, value in found.items() if value != NO_RULE[name]}


@pytest.mark.parametrize(
    ("wanted", "rule"),
    [
        ({"type": "text"}, {}),
        ({"type": "json_object"}, {"json_schema": OBJECT}),
        ({"type": "json_object", "schema": {"type": "null"}}, {"json_schema": '{"type":"null"}'}),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"a": 1}}},
            {"json_schema": '{"a":1}'},
        ),
        ({"type": "regex", "regex": "a+"}, {"regex": "a+"}),
        ({"type": "choice", "choice": ["a", "b"]}, {"choice": ("a", "b")}),
        ({"type": "grammar", "grammar": GRAMMAR}, {"grammar": GRAMMAR}),
    ],
)
def test_a_format_is_a_rule_for_the_text(wanted: dict[str, Any], rule: dict[str, Any]) -> None:
    assert read_format(wanted, MOST, "response_format") == rule


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"grammar": GRAMMAR}, {"grammar": GRAMMAR}),
        ({"guided_grammar": GRAMMAR}, {"grammar": GRAMMAR}),
        ({"structured_outputs": {"grammar": GRAMMAR}}, {"grammar": GRAMMAR}),
        ({"guided_regex": "a"}, {"regex": "a"}),
        ({"structured_outputs": {"regex": "a", "choice": None}}, {"regex": "a"}),
        ({"guided_choice": ["a", "b"]}, {"choice": ("a", "b")}),
        ({"structured_outputs": {"choice": ["a"]}}, {"choice": ("a",)}),
        ({"guided_json": {"type": "null"}}, {"json_schema": '{"type":"null"}'}),
        ({"guided_json": '{"type": "null"}'}, {"json_schema": '{"type": "null"}'}),
        ({"json_schema": True}, {"json_schema": "true"}),
        ({"structured_outputs": {"json": {"a": 1}}}, {"json_schema": '{"a":1}'}),
        ({"structured_outputs": {"json_object": True, "disable_fallback": False}}, {"json_schema": OBJECT}),
        ({"structured_outputs": {"json_object": False}}, {}),
        ({}, {}),
    ],
)
def test_the_words_of_other_servers_are_the_same_rules(given: dict[str, Any], rule: dict[str, Any]) -> None:
    assert read(**given) == rule


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"grammar": "x" * 1001}, "grammar"),
        ({"guided_choice": ["x" * 600, "y" * 600]}, "guided_choice"),
        ({"choice": []}, "choice"),
        ({"structured_outputs": {"choice": [1]}}, "structured_outputs.choice"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs.structural_tag"),
        ({"structured_outputs": {"whitespace_pattern": " *"}}, "structured_outputs.whitespace_pattern"),
        ({"regex": "a", "guided_grammar": GRAMMAR}, "guided_grammar"),
        ({"structured_outputs": {"regex": "a", "json_object": True}}, "structured_outputs.json_object"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"response_format": {"type": "json_object", "schema": 1}}, "response_format"),
        ({"response_format": {"type": "choice", "choice": []}}, "response_format"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(given: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(**given)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_a_rule_takes_the_place_of_the_servers_own_whatever_its_kind() -> None:
    base = SamplingConfig(choice=("a",))
    fields = read_rule(RuleFields(guided_grammar=GRAMMAR), MOST)
    assert SamplingConfig(**{**vars(base), **fields}).rule == ("grammar", GRAMMAR)
