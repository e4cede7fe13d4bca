"""What the flags about tools say together."""

from dataclasses import replace
from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.workflows.tool.options import ToolOptions


def test_tools_and_a_replay_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="--tool and --replay exclude"):
        ToolOptions(tools=("calculator",), replay=Path("x"))


def test_without_a_tool_what_is_said_of_tools_is_refused() -> None:
    assert not ToolOptions().is_given
    with pytest.raises(UsageError, match="--tool-choice does nothing without --tool"):
        ToolOptions(choice="required")
    with pytest.raises(UsageError, match="--tool-schema does nothing without --tool"):
        ToolOptions(schemas=("a: b.json",))


def test_who_decides_about_calls() -> None:
    given = ToolOptions(tools=("calculator",))
    with pytest.raises(UsageError, match="no terminal to ask at"):
        assert given.approver
    asked = replace(given, ask=lambda name, arguments: arguments == {"a": 1})
    assert asked.asks and asked.approver("f", {"a": 1}) and not asked.approver("f", {})
    assert ToolOptions(tools=("calculator",), approve="auto").approver("f", {})
    assert not ToolOptions(tools=("calculator",), approve="never").approver("f", {})
    replay = ToolOptions(replay=Path("talk.jsonl"))
    assert replay.is_given and not replay.asks and replay.approver("f", {})  # nothing is run there
