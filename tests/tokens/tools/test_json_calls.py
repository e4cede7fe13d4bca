"""Calls and arguments that are JSON, and what is none."""

import pytest

from llmkit.tokens.tools.calls import FoundCall, NotACall
from llmkit.tokens.tools.json_calls import arguments_of, calls_in, loads


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
