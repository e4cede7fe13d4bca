"""The way from a call to its result: each gate on it, and that there is no other."""

import json
from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.retrieve.tools.calculator import Calculator
from llmkit.retrieve.tools.config import ToolError, ToolSpec
from llmkit.retrieve.tools.loop import Called, Toolbox
from llmkit.tokens.tools.calls import FoundCall


class Deleter:
    """A tool that must not run unasked."""

    spec = ToolSpec("delete", "", {"type": "object", "properties": {"path": {"type": "string"}}})

    def __init__(self) -> None:
        self.deleted: list[str] = []

    def call(self, arguments: dict[str, Any]) -> str:
        if arguments["path"] == "/":
            raise ToolError("refuses")
        self.deleted.append(arguments["path"])
        return "done"


def yes(name: str, arguments: dict[str, Any]) -> bool:
    return True


def error_of(message: dict[str, Any]) -> str:
    told = json.loads(message["content"])
    assert list(told) == ["error"]
    return str(told["error"])


def test_calls_and_results_are_messages_with_ids_that_go_on() -> None:
    told: list[Called] = []
    box = Toolbox([Calculator(), Deleter()], yes, told=told.append)
    calls = [
        FoundCall("calculator", '{"expression": "2+2"}'),
        FoundCall("delete", '{"path": "a"}'),
    ]
    asked, results = box.answer(calls, 3)
    assert [one["id"] for one in asked] == ["call_4", "call_5"] == [one["tool_call_id"] for one in results]
    assert asked[0]["function"] == {"name": "calculator", "arguments": {"expression": "2+2"}}
    assert [one["content"] for one in results] == ["4", "done"]
    assert told == [
        Called("calculator", '{"expression": "2+2"}', "4", failed=False),
        Called("delete", '{"path": "a"}', "done", failed=False),
    ]


def test_a_tool_that_an_answer_does_not_allow_is_not_there_for_it() -> None:
    deleter = Deleter()
    box = Toolbox([Calculator(), deleter], yes)
    call = FoundCall("delete", '{"path": "a"}')
    _, (result,) = box.answer([call], 0, only=["calculator"])
    assert error_of(result) == "no function 'delete' (there are: calculator)" and deleter.deleted == []
    box.answer([call], 0, only=["delete"])
    assert deleter.deleted == ["a"]


def test_what_is_not_approved_does_not_run_and_the_approver_sees_what_would() -> None:
    deleter, seen = Deleter(), []

    def only_a(name: str, arguments: dict[str, Any]) -> bool:
        seen.append((name, arguments))
        return arguments["path"] == "a"

    calls = [FoundCall("delete", json.dumps({"path": path})) for path in "abc"]
    _, results = Toolbox([deleter], only_a).answer(calls, 0)
    assert deleter.deleted == ["a"] and [arguments["path"] for _, arguments in seen] == ["a", "b", "c"]
    assert error_of(results[1]) == error_of(results[2]) == "the user did not approve this call"


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (FoundCall("remove", "{}"), "no function 'remove' (there are: delete)"),
        (FoundCall("delete", "{"), "the arguments are not JSON"),
        (FoundCall("delete", "[1]"), "the arguments are not an object"),
        (FoundCall("delete", '{"path": 1}'), "delete: path must be string (found 1)"),
        (FoundCall("delete", '{"path": "a", "force": true}'), "delete has no argument 'force' (it has path)"),
        (FoundCall("delete", '{"path": "/"}'), "refuses"),
        (FoundCall("delete", "[" * 100_000), "the arguments are not JSON"),
    ],
)
def test_a_call_that_cannot_be_made_is_an_error_for_the_model_and_none_for_us(
    call: FoundCall, why: str
) -> None:
    deleter = Deleter()
    _, (result,) = Toolbox([deleter], yes).answer([call], 0)
    assert error_of(result) == why and deleter.deleted == []


def test_after_the_last_call_none_is_made_and_nobody_is_asked() -> None:
    deleter, asked = Deleter(), []

    def approve(name: str, arguments: dict[str, Any]) -> bool:
        asked.append(name)
        return True

    calls = [FoundCall("delete", json.dumps({"path": str(number)})) for number in range(5)]
    _, results = Toolbox([deleter], approve, max_calls=3).answer(calls, 1)
    assert deleter.deleted == ["0", "1"] and len(asked) == 2
    assert [error_of(one) for one in results[2:]] == ["no call is left of 3: answer with what is known"] * 3


def test_two_tools_of_one_name_and_no_calls_at_all_are_refused() -> None:
    with pytest.raises(UsageError, match="two tools are called calculator"):
        Toolbox([Calculator(), Calculator()], yes)
    with pytest.raises(UsageError, match="at least 1"):
        Toolbox([Calculator()], yes, max_calls=0)
