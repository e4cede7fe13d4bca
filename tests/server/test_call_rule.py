"""What texts must be where functions may be called: by the choice, strict functions, an answer's rule."""

from pathlib import Path
from typing import Any

import pytest

from llmkit.server.ask import ToolChoice
from llmkit.server.call_rule import call_rule
from llmkit.server.errors import ApiError
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tools.forms import ToolForm, form_of
from tests.server.calling_made import calling_folder

OBJECT = ("json_schema", '{"type": "object"}')


@pytest.fixture
def form(tmp_path: Path) -> ToolForm:
    return form_of(load_tokenizer(calling_folder(tmp_path)))


def _tool(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}, **more}}


def test_a_text_is_held_to_calls_where_one_is_required_or_an_answer_has_a_rule(form: ToolForm) -> None:
    tools = [_tool("f"), _tool("g")]
    free = call_rule(form, tools, ToolChoice(), parallel=True, answer=None)
    required = call_rule(form, tools, ToolChoice("required"), parallel=True, answer=None)
    named = call_rule(form, tools, ToolChoice("required", "g"), parallel=False, answer=None)
    either = call_rule(form, tools, ToolChoice(), parallel=True, answer=OBJECT)
    assert free is None and required is not None and named is not None and either is not None
    assert {required[0], named[0], either[0]} == {"tools"}
    assert '\\"f\\"' in str(required[1]) and '\\"f\\"' not in str(named[1])
    assert "start: calls |" in str(either[1]) and "start: calls |" not in str(required[1])


def test_a_strict_function_holds_its_calls_where_none_is_required(form: ToolForm) -> None:
    rule = call_rule(form, [_tool("f", strict=True)], ToolChoice(), parallel=True, answer=None)
    assert rule is not None and "opening" in rule[1]


def test_without_functions_the_rule_is_the_answers(form: ToolForm) -> None:
    assert call_rule(form, [], ToolChoice("none"), parallel=True, answer=OBJECT) == OBJECT
    assert call_rule(form, [], ToolChoice("none"), parallel=True, answer=None) is None


@pytest.mark.parametrize(
    ("tool", "answer", "param"),
    [(_tool("f"), OBJECT, "tool_choice"), (_tool("f", parameters={"type": "array"}), None, "tools")],
)
def test_what_cannot_be_held_to_is_refused_by_its_parameter(
    form: ToolForm, tool: dict[str, Any], answer: Any, param: str
) -> None:
    with pytest.raises(ApiError) as caught:
        call_rule(form, [tool], ToolChoice("required"), parallel=True, answer=answer)
    assert (caught.value.status, caught.value.param) == (400, param)
