"""The environment of chat templates; what it renders is compared in test_chat.py."""

import jinja2
import pytest

from llmkit.tokens.templates import compile_template


def test_a_template_is_compiled_once() -> None:
    assert compile_template("{{ 1 }}") is compile_template("{{ 1 }}")


def test_lines_of_blocks_leave_no_white_space() -> None:
    assert compile_template("a\n  {% if true %}\nb\n  {% endif %}\nc").render() == "a\nb\nc"


def test_json_keeps_its_letters_and_signs() -> None:
    assert compile_template("{{ {'ü': '<&>'} | tojson }}").render() == '{"ü": "<&>"}'


def test_a_block_must_end() -> None:
    with pytest.raises(jinja2.TemplateSyntaxError):
        compile_template("{% generation %}a")
