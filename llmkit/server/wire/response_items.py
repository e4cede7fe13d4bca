"""The `input` of `/v1/responses`: its items as turns. Source: OpenAI's API reference, "Responses"."""

from typing import Any

from llmkit.server.errors import refused
from llmkit.server.wire.messages_in import content_text


def read_items(
    instructions: str | None, told: str | list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The same turns as `/v1/chat/completions` has them, and where in the body each stands.

    Args:
        instructions, told: the body's `instructions` and `input`.

    Raises:
        ApiError: 400, naming the item that is not read here.
    """
    turns: list[dict[str, Any]] = []
    places: list[str] = []
    if instructions is not None:
        turns.append({"role": "system", "content": instructions})
        places.append("instructions")
    if not told:
        raise refused("input", "is empty")
    if isinstance(told, str):
        return [*turns, {"role": "user", "content": told}], [*places, "input"]
    for number, item in enumerate(told):
        where = f"input[{number}]"
        match item:
            case {"type": "function_call", "name": str() as name, "arguments": str(arguments)}:
                call = {"type": "function", "function": {"name": name, "arguments": arguments}}
                if isinstance(item.get("call_id"), str):
                    call["id"] = item["call_id"]
                _call(turns, call)
            case {"type": "function_call_output", "call_id": str() as call_id, "output": output}:
                content = content_text(output, f"{where}.output")
                turns.append({"role": "tool", "tool_call_id": call_id, "content": content})
            case {
                "type": "mcp_call",
                "id": str() as call_id,
                "name": str() as name,
                "arguments": str(arguments),
            }:
                call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
                result = item.get("output") or item.get("error") or ""
                content = content_text(result, f"{where}.output")
                _call(turns, call)
                turns.append({"role": "tool", "tool_call_id": call_id, "content": content})
            case {"role": str() as role, "content": content} if item.get("type", "message") == "message":
                turns.append({"role": role, "content": content_text(content, f"{where}.content")})
            case _:
                kind = item.get("type")
                known = "message, function_call, function_call_output and mcp_call are read"
                raise refused(where, f"of type {kind!r}: {known}")
        places += [where] * (len(turns) - len(places))
    return turns, places


def _call(turns: list[dict[str, Any]], call: dict[str, Any]) -> None:
    """Put a call into the assistant's turn that it ends, as the model wrote it: after its text and its other
    calls, which are items of their own here."""
    if not turns or turns[-1]["role"] != "assistant":
        turns.append({"role": "assistant", "content": ""})
    turns[-1].setdefault("tool_calls", []).append(call)
