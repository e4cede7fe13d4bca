"""Results out of transcripts."""

import json
from typing import Any

import pytest

from llmkit.errors import DataError
from llmkit.retrieve.tools.config import ToolSpec
from llmkit.retrieve.tools.replay import Recording, ReplayTool


def conversation(*calls: tuple[str, Any, str]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Go"}]
    for number, (name, arguments, result) in enumerate(calls):
        function = {"name": name, "arguments": arguments}
        messages += [
            {"role": "assistant", "content": "", "tool_calls": [{"id": f"c{number}", "function": function}]},
            {"role": "tool", "tool_call_id": f"c{number}", "content": result},
        ]
    return messages


def test_a_call_gets_its_own_results_in_their_order_whatever_the_order_of_its_arguments() -> None:
    recording = Recording("talk.jsonl")
    first = conversation(("f", {"a": 1, "b": 2}, "one"), ("g", {"a": 1, "b": 2}, "other"))
    again = conversation(("f", json.dumps({"b": 2, "a": 1}), "two"))  # as OpenAI writes arguments
    assert (recording.add(first), recording.add(again)) == (2, 1)
    f, g = (ReplayTool(ToolSpec(name, "", {}), recording) for name in "fg")
    assert [f.call({"b": 2, "a": 1}) for _ in range(3)] == ["one", "two", "two"]
    assert g.call({"a": 1, "b": 2}) == "other"


def test_a_call_that_was_never_made_stops_the_replay() -> None:
    recording = Recording("talk.jsonl")
    recording.add(conversation(("f", {"a": 1}, "one")))
    with pytest.raises(DataError, match=r'^talk\.jsonl: has no result of f\(\{"a": 2\}\)$'):
        recording.result("f", {"a": 2})
