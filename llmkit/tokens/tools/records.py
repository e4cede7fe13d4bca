"""Conversations of data sets as a server renders those of requests: a model learns what it will be given.

Data sets write calls as OpenAI does, with arguments as a text or an object, or bare: {"name", "arguments"}.
Functions are told with {"type": "function"} around them or bare. A server knows them in one form, and each
template gets them as it wants them (tools/turns.py); so it does here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from llmkit.tokens.audit import ExampleError
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.turns import Message, ToolTurns, has_tools, tool_turns


@dataclass(frozen=True)
class Told:
    """A conversation as the template gets it."""

    messages: list[Message]
    tools: list[Message] | None
    places: list[tuple[int, ...]]
    """For each message the numbers of those that it was made of; none, of one that tells of the tools."""


class RecordTurns:
    """Tells one template of conversations."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @cached_property
    def _turns(self) -> ToolTurns:
        """Found when a conversation has tools: it takes renderings."""
        return tool_turns(self._tokenizer)

    def tell(self, messages: list[Message], tools: Sequence[Any] | None) -> Told:
        """What a server would render of a conversation; one without tools and calls is as it was.

        Raises:
            ExampleError: `record.shape`: a function or a call of no known form, or a content that is no text.
        """
        if not has_tools(messages, tools):
            return Told(messages, None, [(number,) for number in range(len(messages))])
        functions = [_function(one, number) for number, one in enumerate(tools or ())]
        read = [_message(one, number) for number, one in enumerate(messages)]
        return Told(*self._turns.told_from(read, functions))


def _function(tool: Any, number: int) -> Message:
    match tool:
        case {"type": "function", "function": {"name": str()} as function}:
            pass
        case {"name": str()} as function if "function" not in tool:
            pass
        case _:
            raise ExampleError(
                "record.shape",
                f"tools[{number}] is no function with a name",
                hint='{"type": "function", "function": {"name": "…", "parameters": {…}}}',
            )
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return {"type": "function", "function": {**function, "parameters": parameters}}


def _message(message: Message, number: int) -> Message:
    content, calls = message.get("content"), message.get("tool_calls")
    if not isinstance(content, str | None):
        problem = f"message {number}: content is no text, in a conversation with tools"
        raise ExampleError("record.shape", problem, hint="write an object as its JSON, in a text")
    read: Message = {**message, "content": content or ""}
    if calls:
        where = f"message {number}: tool_calls"
        if not isinstance(calls, list):
            raise ExampleError("record.shape", f"{where} is no list", hint=_CALL)
        read["tool_calls"] = [_call(one, f"{where}[{place}]") for place, one in enumerate(calls)]
    return read


def _call(call: Any, where: str) -> Message:
    match call:
        case {"function": {"name": str() as name} as function}:
            pass
        case {"name": str() as name} as function:
            pass
        case _:
            raise ExampleError("record.shape", f"{where} is no call of a function", hint=_CALL)
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = msgspec.json.decode(arguments or "{}")
        except (msgspec.DecodeError, RecursionError):
            raise ExampleError("record.shape", f"{where}: arguments are not JSON", hint=_CALL) from None
    if not isinstance(arguments, dict):
        raise ExampleError("record.shape", f"{where}: arguments are no JSON object", hint=_CALL)
    identity = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {**identity, "type": "function", "function": {"name": name, "arguments": arguments}}


_CALL = '{"type": "function", "function": {"name": "…", "arguments": {…}}}'
