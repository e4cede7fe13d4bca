"""The output of `/v1/responses`: the items of an answer. Source: OpenAI's API reference, "Responses".

What was thought is told in full, as OpenAI has it of open models: a reasoning item with content, no summary.
"""

from typing import Any

from llmkit.server.answer import Answered, ExecutedTool, Part, Said, ToolCall

SERVER_LABEL = "llmkit"
"""Whose tools those are that the server calls itself."""


def output_item(who: Answered, part: Part, place: int) -> dict[str, Any]:
    """A part of an answer, as the item at a place of the output."""
    match part:
        case Said():
            return said_item(who, part, place)
        case ToolCall():
            return call_item(part)
        case ExecutedTool():
            return executed_item(part)


def said_item(who: Answered, said: Said, place: int = 0, *, cut: bool = False) -> dict[str, Any]:
    """A message, or what was thought, at some place of the output.

    Args:
        who: answers.
        said: the text.
        place: in the output.
        cut: whether the text ends where no more was allowed.
    """
    own = who.id.replace("resp_", "rs_" if said.is_thought else "msg_", 1)
    item: dict[str, Any] = {
        "type": "reasoning" if said.is_thought else "message",
        "id": f"{own}_{place}" if place else own,
        "status": "incomplete" if cut else "completed",
        "content": [said_part(said)],
    }
    if said.is_thought:
        item["summary"] = []
    else:
        item["role"] = "assistant"
    return item


def said_part(said: Said) -> dict[str, Any]:
    """A part of a message, or of what was thought."""
    if said.is_thought:
        return {"type": "reasoning_text", "text": said.text}
    return {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}


def call_item(call: ToolCall) -> dict[str, Any]:
    """A function that is called."""
    return {
        "type": "function_call",
        "id": call.id.replace("call_", "fc_", 1),
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
        "status": "completed",
    }


def executed_item(one: ExecutedTool) -> dict[str, Any]:
    """A function that the server called, as OpenAI has those of servers that it calls itself."""
    return {
        "type": "mcp_call",
        "id": one.id.replace("call_", "mcp_", 1),
        "server_label": SERVER_LABEL,
        "approval_request_id": None,
        "name": one.name,
        "arguments": one.arguments,
        "output": None if one.failed else one.output,
        "error": one.output if one.failed else None,
        "status": "failed" if one.failed else "completed",
    }
