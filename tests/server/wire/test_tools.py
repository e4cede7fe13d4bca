"""Tools and the choice among them."""

from typing import Any

import pytest

from llmkit.server.ask import ToolChoice
from llmkit.server.errors import ApiError
from llmkit.server.wire.tools import Offer, read_offer, read_tool_choice, read_tools

ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def test_a_tool_without_parameters_takes_none() -> None:
    (tool,) = read_tools([{"type": "function", "function": {"name": "now"}}])
    assert tool["function"]["parameters"] == {"type": "object", "properties": {}}
    unsaid = {"name": "now", "description": None, "parameters": None, "strict": None}
    assert read_tools([{"type": "function", "function": unsaid}]) == (tool,)
    assert read_tools(None) == ()


@pytest.mark.parametrize(
    "tools",
    [
        [{"type": "retrieval"}],
        [{"type": "function", "function": {"name": "a b"}}],
        [{"type": "function", "function": {"name": "a\n"}}],
        [{"type": "function", "function": {"name": "f", "parameters": []}}],
        [ADD] * 129,
        [{"type": "function", "function": {"name": "f", "description": "x" * 70_000}}],
    ],
)
def test_other_tools_are_refused(tools: list[dict[str, Any]]) -> None:
    with pytest.raises(ApiError):
        read_tools(tools)


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        (None, ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "function": {"name": "add"}}, ToolChoice("required", "add")),
    ],
)
def test_a_choice_is_read(choice: Any, found: ToolChoice) -> None:
    assert read_tool_choice(choice, read_tools([ADD])) == found


def test_a_choice_of_what_is_not_there_is_refused() -> None:
    with pytest.raises(ApiError, match="there are add"):
        read_tool_choice({"type": "function", "function": {"name": "mul"}}, read_tools([ADD]))
    with pytest.raises(ApiError, match="no tools to choose"):
        read_tool_choice("required", ())
    assert read_tool_choice("auto", ()) == ToolChoice("none")


MUL = {"type": "function", "function": {"name": "mul"}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_of_allowed_tools_the_model_is_told_of_those_alone(mode: Any) -> None:
    offer = read_offer([ADD, MUL], allowed(mode, "mul"), ())
    assert offer == Offer(read_tools([MUL]), ToolChoice(mode), by_server=False)
    of_server = read_offer(None, allowed(mode, "sums"), (*read_tools([ADD]), *FUNCTIONS))
    assert of_server == Offer(FUNCTIONS, ToolChoice(mode), by_server=True)


def test_allowed_tools_of_no_known_form_or_that_are_not_there_are_refused() -> None:
    for choice, problem in (
        (allowed("auto", "mul"), "no tool is called 'mul'"),
        (allowed("none", "add"), "has a mode"),
        (allowed("auto"), "and tools"),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "mcp"}]}},
            "by their",
        ),
    ):
        with pytest.raises(ApiError, match=problem):
            read_offer([ADD], choice, ())
    with pytest.raises(ApiError, match="there are no tools to choose from"):
        read_offer([], allowed("auto", "add"), FUNCTIONS)


FUNCTIONS = ({"type": "function", "function": {"name": "sums", "parameters": {}}},)
OWN = [{"type": "function", "function": {"name": "own", "parameters": {}}}]


def test_the_servers_tools_are_offered_only_to_who_says_nothing_of_tools() -> None:
    assert read_offer(None, None, FUNCTIONS) == Offer(FUNCTIONS, ToolChoice("auto"), by_server=True)
    assert read_offer(None, "required", FUNCTIONS).choice == ToolChoice("required")
    assert read_offer(None, "none", FUNCTIONS) == Offer((), ToolChoice("none"), by_server=False)
    assert read_offer([], None, FUNCTIONS) == Offer((), ToolChoice("none"), by_server=False)
    own = read_offer(OWN, None, FUNCTIONS)
    assert own == Offer(read_tools(OWN), ToolChoice("auto"), by_server=False)


def test_a_client_cannot_add_to_the_servers_tools_nor_ask_for_one_that_is_not_there() -> None:
    named = {"type": "function", "function": {"name": "sums"}}
    assert read_offer(None, named, FUNCTIONS).choice == ToolChoice("required", "sums")
    with pytest.raises(ApiError, match="no tool is called 'sums'"):
        read_offer(OWN, named, FUNCTIONS)
    with pytest.raises(ApiError, match="there are no tools to choose from"):
        read_offer(None, "required", ())
