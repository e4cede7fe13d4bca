"""Flags about tools become options, and say where nothing would read them."""

from pathlib import Path
from typing import Any

import pytest

from llmkit.commands import tool_flags
from llmkit.commands.console import Console
from llmkit.errors import UsageError
from llmkit.progress import SILENT
from llmkit.retrieve.tools.config import ToolLimits


def options(**more: Any) -> Any:
    return tool_flags.tool_options(Console(), tool_flags.Calling(**more))


def test_every_flag_reaches_the_options() -> None:
    found = options(
        **{"tool": ["calculator"], "tool_schema": ["a: b"], "tool_choice": "required", "approve": "auto"},
        **{"max_calls": 3, "tool_timeout": 2.0, "tool_output": 99},
    )
    assert (found.tools, found.schemas, found.choice) == (("calculator",), ("a: b",), "required")
    assert (found.approve, found.max_calls, found.limits) == ("auto", 3, ToolLimits(2.0, 99))
    assert options(replay=Path("talk.jsonl")).replay == Path("talk.jsonl")


def test_the_terminal_is_asked_only_where_calls_are_made_and_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tool_flags, "terminal_approval", lambda: "somebody")
    assert options(tool=["calculator"]).ask == "somebody"
    assert options(tool=["calculator"], approve="auto").ask is None
    assert options(replay=Path("talk.jsonl")).ask is None


@pytest.mark.parametrize(
    ("flag", "more"),
    [
        ("--tool-schema", {"tool_schema": ["a: b"]}),
        ("--tool-choice", {"tool_choice": "required"}),
        ("--approve", {"approve": "auto"}),
        ("--max-calls", {"max_calls": 3}),
        ("--tool-timeout", {"tool_timeout": 2.0}),
        ("--tool-output", {"tool_output": 99}),
    ],
)
def test_without_a_tool_no_other_flag_of_theirs_is_taken(flag: str, more: dict[str, Any]) -> None:
    assert options() is None
    with pytest.raises(UsageError, match=f"{flag} does nothing without --tool"):
        options(**more)


def test_no_bar_is_drawn_over_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_flags, "terminal_approval", lambda: lambda name, arguments: True)
    with tool_flags.watched(Console(), options(tool=["calculator"]), 1.0) as progress:
        assert progress is SILENT
    for tools in (None, options(tool=["calculator"], approve="auto")):
        with tool_flags.watched(Console(), tools, 1.0) as progress:
            assert progress is not SILENT
