"""Insides of calls; the forms of all families are tested whole in test_calls.py."""

import pytest

from llmkit.tokens.tools.bodies import deepseek_body, kimi_body
from llmkit.tokens.tools.calls import FoundCall, NotACall
from tests.tokens.read_through import read_through


@pytest.mark.parametrize(
    "text",
    [
        'get_it<｜tool▁sep｜>{"a": "}"}',  # V3.1
        'function<｜tool▁sep｜>get_it\n```json\n{"a": "}"}',  # V3 and R1
    ],
)
def test_deepseek_writes_a_name_before_or_after_its_mark(text: str) -> None:
    assert read_through(deepseek_body(), text + "\n```") == ((FoundCall("get_it", '{"a": "}"}'),), "\n```")


def test_kimi_numbers_its_calls() -> None:
    text = 'functions.get_it:12<|tool_call_argument_begin|>{"a": 1}'
    assert read_through(kimi_body(), text) == ((FoundCall("get_it", '{"a": 1}'),), "")
    with pytest.raises(NotACall):
        read_through(kimi_body(), "functions.get it:0<|tool_call_argument_begin|>{}")
