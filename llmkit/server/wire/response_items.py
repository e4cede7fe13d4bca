"""The `input` of `/v1/responses`: its items as turns. Source: OpenAI's API reference, "Responses"."""

from collections.abc import Sequence
from typing import Any

from llmkit.server.errors import refused
from llmkit.server.wire.messages_in import content_text


def read_items(
    instructions: str | None, told: str | list[dict[str, Any]], earlier: Sequence[dict[str, Any]] = ()
) -> tuple[list[dict[str, Any]], list[str]]:
    """The same turns as `/v1/chat/completions` has them, and where in the body each stands.

    Args:
        instructions, told: the body's `instructions` and `input`.
        earlier: items of the conversation that the body goes on from.

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
        own: list[tuple[str, dict[str, Any]]] = [("input", {"role": "user", "content": told})]
    else:
        own = [(f"input[{number}]", item) for number, item in enumerate(told)]
    for where, item in [*(("previous_response_id", item) for item in earlier), *own]:
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
            case {"type": "reasoning"}:
                turns.append({"role": "assistant", "content": "", "reasoning_content": _thought(item, where)})
            case {"role": str() as role, "content": content} if item.get("type", "message") == "message":
                text = content_text(content, f"{where}.content")
                if role == "assistant" and turns and _is_thought(turns[-1]):
                    turns[-1]["content"] = text
                else:
                    turns.append({"role": role, "content": text})
            case _:
                kind = item.get("type")
                known = "message, reasoning, function_call, function_call_output and mcp_call are read"
                raise refused(where, f"of type {kind!r}: {known}")
        places += [where] * (len(turns) - len(places))
    return turns, places


def _thought(item: dict[str, Any], where: str) -> str:
    """What an item of reasoning says: the whole of it, or else its summary.

    Raises:
        ApiError: 400: it says nothing that could be read, such as what OpenAI has encrypted.
    """
    match item:
        case {"content": [_, *_] as parts} | {"summary": [_, *_] as parts}:
            pass
        case _:
            raise refused(where, "of type 'reasoning' and has neither content nor summary: leave it out")
    texts = []
    for number, part in enumerate(parts):
        match part:
            case {"type": "reasoning_text" | "summary_text", "text": str() as text}:
                texts.append(text)
            case _:
                raise refused(f"{where}: part {number}", 'of the form {"type": "reasoning_text", "text"}')
    return "".join(texts)


def _is_thought(turn: dict[str, Any]) -> bool:
    """Whether nothing but a thought has come of a turn."""
    return "reasoning_content" in turn and not (turn["content"] or "tool_calls" in turn)


def _call(turns: list[dict[str, Any]], call: dict[str, Any]) -> None:
    """Put a call into the assistant's turn that it ends, as the model wrote it: after its text and its other
    calls, which are items of their own here."""
    if not turns or turns[-1]["role"] != "assistant":
        turns.append({"role": "assistant", "content": ""})
    turns[-1].setdefault("tool_calls", []).append(call)
