"""Calls on their way from a model's text to their results: found, checked, approved, counted, run.

Nothing else runs a tool, and only what the model itself wrote is looked at: a call that stands in a message
or in a result is text.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmkit.errors import UsageError
from llmkit.retrieve.tools.config import Tool, ToolError
from llmkit.retrieve.tools.leave import check_awaited
from llmkit.tokens.tools.calls import FoundCall

Message = dict[str, Any]
Approve = Callable[[str, dict[str, Any]], bool]
"""Whether a function may be called with these arguments."""
MAX_CALLS = 8


@dataclass(frozen=True)
class Called:
    """A call that was answered, for whoever looks on."""

    name: str
    arguments: str
    """JSON, as the model wrote it."""
    result: str
    failed: bool


def check_tools(names: Sequence[str], max_calls: int) -> None:
    """Check what tools are called, and how often one answer may call them.

    Raises:
        UsageError: two have one name, or there are to be no calls.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two tools are called {twice}", hint="--tool 'NAME: …' names one of them anew")
    if max_calls < 1:
        raise UsageError(f"--max-calls {max_calls}: at least 1", hint=f"--max-calls {MAX_CALLS}")


class Toolbox:
    """The functions that there are, and the only way to them."""

    def __init__(
        self,
        tools: Sequence[Tool],
        approve: Approve,
        *,
        max_calls: int = MAX_CALLS,
        told: Callable[[Called], None] = lambda called: None,
    ) -> None:
        """
        Args:
            tools: what can be called.
            approve: is asked before each call.
            max_calls: of one answer.
            told: hears of each call.

        Raises:
            UsageError: two have one name, or there are to be no calls.
        """
        self._tools = {tool.spec.name: tool for tool in tools}
        check_tools([tool.spec.name for tool in tools], max_calls)
        self._approve = approve
        self.max_calls = max_calls
        self._told = told

    @property
    def names(self) -> tuple[str, ...]:
        """What can be called."""
        return tuple(self._tools)

    @property
    def functions(self) -> list[Message]:
        """As OpenAI writes them."""
        return [tool.spec.function for tool in self._tools.values()]

    def answer(
        self,
        calls: Sequence[FoundCall],
        done: int,
        *,
        told: Callable[[Called], None] | None = None,
        only: Collection[str] | None = None,
    ) -> tuple[list[Message], list[Message]]:
        """The calls as a message has them, and a message with the result of each.

        Args:
            calls: of one text.
            done: of this answer before; ids go on from there.
            told: hears of each call; None: who heard of all from the beginning.
            only: of the tools, those that there are for this answer; None: all.
        """
        asked, results = [], []
        for number, call in enumerate(calls, done + 1):
            identity = f"call_{number}"
            arguments, called = self._one(call, number, self._tools if only is None else only)
            function = {"name": call.name, "arguments": arguments}
            asked.append({"id": identity, "type": "function", "function": function})
            results.append(
                {"role": "tool", "tool_call_id": identity, "name": call.name, "content": called.result}
            )
            (told or self._told)(called)
        return asked, results

    def _one(self, call: FoundCall, number: int, only: Collection[str]) -> tuple[dict[str, Any], Called]:
        arguments: dict[str, Any] = {}
        called = Called(call.name, call.arguments, "", failed=False)
        try:
            arguments = _arguments(call)
            if number > self.max_calls:
                raise ToolError(f"no call is left of {self.max_calls}: answer with what is known")
            tool = self._tools.get(call.name) if call.name in only else None
            if tool is None:
                raise ToolError(f"no function {call.name!r} (there are: {', '.join(only)})")
            tool.spec.check(arguments)
            check_awaited()
            if not self._approve(call.name, arguments):
                raise ToolError("the user did not approve this call")
            return arguments, replace(called, result=tool.call(arguments))
        except ToolError as error:
            told = json.dumps({"error": str(error)}, ensure_ascii=False)
            return arguments, replace(called, result=told, failed=True)


def _arguments(call: FoundCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        raise ToolError("the arguments are not JSON") from None
    if not isinstance(arguments, dict):
        raise ToolError("the arguments are not an object")
    return arguments
