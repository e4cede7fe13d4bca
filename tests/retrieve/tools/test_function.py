"""Python functions as programs, in their own process."""

import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from llmkit.retrieve.tools.config import ToolError, ToolLimits
from llmkit.retrieve.tools.function import load_function, schema_of
from llmkit.retrieve.tools.program import ProgramTool, ask_schema

SOURCE = '''
import beside

def area(width: float, height: float = 2.0, unit: str | None = None) -> dict:
    """The area of a
    rectangle.

    More that nobody needs.
    """
    print("this is no result")
    return {"area": width * height * beside.ONE, "unit": unit}

def dies(): raise ValueError("on purpose")
def odd(): return object()
def exits(): import os; os._exit(7)
'''


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str], ProgramTool]:
    (tmp_path / "shapes.py").write_text(SOURCE)
    (tmp_path / "beside.py").write_text("ONE = 1")

    def make(name: str) -> ProgramTool:
        module = "llmkit.retrieve.tools.function"
        command = (sys.executable, "-P", "-m", module, str(tmp_path / "shapes.py"), name)
        return ProgramTool(ask_schema(command, name), command, ToolLimits())

    return make


def test_it_is_called_with_its_arguments_and_what_it_prints_is_no_result(
    tool: Callable[[str], ProgramTool],
) -> None:
    area = tool("area")
    assert area.spec.description == "The area of a rectangle."
    assert area.spec.parameters == {
        "type": "object",
        "properties": {
            "width": {"type": "number"},
            "height": {"type": "number"},
            "unit": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["width"],
        "additionalProperties": False,
    }
    assert json.loads(area.call({"width": 3, "unit": "m²"})) == {"area": 6.0, "unit": "m²"}


@pytest.mark.parametrize(
    ("name", "why"),
    [("dies", "status 1: ValueError: on purpose"), ("odd", "not JSON serializable"), ("exits", "status 7")],
)
def test_one_that_fails_takes_nothing_with_it(
    tool: Callable[[str], ProgramTool], name: str, why: str
) -> None:
    with pytest.raises(ToolError, match=why):
        tool(name).call({})


def test_kinds_of_arguments_become_their_schemas() -> None:
    def some(a: list[int], b: dict[str, bool], c: Literal["x", "y"], d: Any, e, *, f: bool = True): ...  # type: ignore[no-untyped-def]

    found = schema_of(some)["parameters"]
    assert found["properties"] == {
        "a": {"type": "array", "items": {"type": "integer"}},
        "b": {"type": "object", "additionalProperties": {"type": "boolean"}},
        "c": {"enum": ["x", "y"]},
        "d": {},
        "e": {},
        "f": {"type": "boolean"},
    }
    assert found["required"] == [one for one in inspect.signature(some).parameters if one != "f"]


def test_arguments_that_no_model_can_give_are_refused(tmp_path: Path) -> None:
    def many(*more: int) -> None: ...
    def odd(one: Path) -> None: ...

    with pytest.raises(SystemExit, match="argument more cannot be given by name"):
        schema_of(many)
    with pytest.raises(SystemExit, match="no type that JSON has"):
        schema_of(odd)
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(SystemExit, match="no function area"):
        load_function(tmp_path / "empty.py", "area")


def test_a_model_is_told_of_arguments_what_transformers_tells_it() -> None:
    from transformers.utils import get_json_schema

    def weather(place: str, days: int = 1, unit: str = "C") -> str:
        """
        What the weather will be.

        Args:
            place: The town: with its
                country, as "Pori, FI".
            days (int): How far ahead.
            unit: C or F.

        Returns:
            place: not this
        """
        return place + unit * days

    theirs = get_json_schema(weather)["function"]
    ours = schema_of(weather)
    assert ours["description"] == theirs["description"]
    assert ours["parameters"]["properties"] == theirs["parameters"]["properties"]
    assert ours["parameters"]["properties"]["place"]["description"] == (
        'The town: with its country, as "Pori, FI".'
    )


def test_what_a_docstring_says_of_arguments_is_no_part_of_the_functions_own_description() -> None:
    def near(a: int, b: int) -> None:
        """Near.
        Args:
            b: Other
        """

    found = schema_of(near)
    assert found["description"] == "Near."
    assert found["parameters"]["properties"] == {
        "a": {"type": "integer"},
        "b": {"type": "integer", "description": "Other"},
    }
