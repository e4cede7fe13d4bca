"""The blocks that a message of Anthropic's is made of. Source: Anthropic's API reference, "Messages", "MCP".

What the server itself called is told as Anthropic tells what its own MCP connector called.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from llmkit.server.answer import ExecutedTool, Piece, Said, ToolCall, parts_of
from llmkit.server.errors import ApiError, refused
from llmkit.server.wire.messages_in import content_text
from llmkit.server.wire.response_output import SERVER_LABEL

_CALL, _RESULT = "an id and a name, which are texts, and an input, which is an object", "a tool_use_id"
_NEEDS = {
    **{"text": "a text", "thinking": "a text called thinking, in an assistant's message"},
    **{"tool_use": _CALL, "mcp_tool_use": _CALL, "tool_result": _RESULT, "mcp_tool_result": _RESULT},
}
"""What a block of each known type has."""


def answer_blocks(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """An answer: thoughts, what the server called and what the client is to call, each at its place."""
    blocks: list[dict[str, Any]] = []
    for part in parts_of(pieces):
        match part:
            case Said():
                blocks.append(said_block(part))
            case ToolCall():
                blocks.append({**tool_use(part), "input": given_object(part.arguments)})
            case ExecutedTool():
                use, result = executed_blocks(part)
                blocks += [{**use, "input": given_object(part.arguments)}, result]
    return blocks


def said_block(said: Said) -> dict[str, Any]:
    """A block of text, or of thoughts; these are signed by nobody: whoever sends them back is believed."""
    if said.is_thought:
        return {"type": "thinking", "thinking": said.text, "signature": ""}
    return {"type": "text", "text": said.text}


def tool_use(call: ToolCall) -> dict[str, Any]:
    """A block that calls a function, its input left empty."""
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}


def executed_blocks(one: ExecutedTool) -> tuple[dict[str, Any], dict[str, Any]]:
    """A function that the server called, its input left empty, and the result."""
    identity = one.id.replace("call_", "mcptoolu_", 1)
    use = {"type": "mcp_tool_use", "id": identity, "name": one.name, "server_name": SERVER_LABEL, "input": {}}
    content = [{"type": "text", "text": one.output}]
    result = {"type": "mcp_tool_result", "tool_use_id": identity, "is_error": one.failed, "content": content}
    return use, result


def given_object(arguments: str) -> dict[str, Any]:
    """Arguments as an object; of what the model wrote amiss and the server ran nothing with, none."""
    try:
        given = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}


def read_blocks(role: str, blocks: list[Any], where: str) -> list[dict[str, Any]]:
    """The turns that a message of blocks is: its text, its calls, and the results of earlier calls.

    Raises:
        ApiError: 400: a block that is not read here.
    """
    turns: list[dict[str, Any]] = []
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for number, block in enumerate(blocks):
        match block:
            case {"type": "text", "text": str() as text}:
                texts.append(text)
            case {"type": "thinking", "thinking": str() as thought} if role == "assistant":
                thoughts.append(thought)
            case {"type": "tool_use", "id": str() as name, "name": str() as said, "input": dict() as given}:
                calls.append(_call(name, said, given))
            case {
                "type": "mcp_tool_use",
                "id": str() as name,
                "name": str() as said,
                "input": dict() as given,
            }:
                turns.append(_turn(role, texts, thoughts) | {"tool_calls": [_call(name, said, given)]})
                texts, thoughts = [], []
            case {"type": "mcp_tool_result" | "tool_result" as kind, "tool_use_id": str() as name}:
                content = content_text(block.get("content", ""), f"{where}[{number}].content")
                result = {"role": "tool", "tool_call_id": name, "content": content}
                (results if kind == "tool_result" else turns).append(result)
            case _:
                raise _unread(block, f"{where}[{number}]")
    turn = _turn(role, texts, thoughts)
    if calls:
        turn["tool_calls"] = calls
    turns = [*results, *turns]
    return [*turns, *([turn] if texts or thoughts or calls or not turns else [])]


def _unread(block: Any, where: str) -> ApiError:
    """A block that is of no known type, or lacks what its type has."""
    kind = block.get("type") if isinstance(block, dict) else block
    if isinstance(kind, str) and (needs := _NEEDS.get(kind)) is not None:
        return refused(where, f"of type {kind!r}: needs {needs}")
    known = "only text, thinking, tool_use, tool_result and their mcp_ kin are read"
    return refused(where, f"of type {kind!r}: {known}")


def _turn(role: str, texts: list[str], thoughts: list[str]) -> dict[str, Any]:
    turn = {"role": role, "content": "".join(texts)}
    return turn | ({"reasoning_content": "".join(thoughts)} if thoughts else {})


def _call(identity: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": given}}
