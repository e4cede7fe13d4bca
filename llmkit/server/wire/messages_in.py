"""OpenAI's messages as chat templates know them: text in one piece, and nothing that is not text."""

from collections.abc import Sequence
from typing import Any

import msgspec

from llmkit.server.errors import refused

ROLES = ("system", "developer", "user", "assistant", "tool")
_KEYS = {
    *("role", "content", "name", "tool_calls", "tool_call_id", "refusal", "reasoning_content", "reasoning"),
    *("audio", "function_call", "annotations"),
    *("executed_tools", "citations"),  # of an answer of ours, sent back as it came
}
MOST_MESSAGES = 4096
TEMPLATE_KWARGS = ("enable_thinking", "thinking", "reasoning_effort", "date_string")
"""What may be said to the chat template: none of it can change how it is run."""
NO_THOUGHTS = {"enable_thinking": False, "thinking": False}
"""That nothing is to be thought, as templates of Qwen and GLM know it, and those of DeepSeek and Granite."""
THOUGHTS = dict.fromkeys(NO_THOUGHTS, True)
"""That there is to be thought."""


def read_messages(
    messages: list[dict[str, Any]], param: str = "messages", places: Sequence[str] | None = None
) -> tuple[dict[str, Any], ...]:
    """Messages to render.

    Args:
        messages: in OpenAI's words.
        param: what the request calls them.
        places: where in the request each stands; None: in their order.

    Raises:
        ApiError: 400, naming the message and what is wrong with it.
    """
    if not messages:
        raise refused(param, "is empty")
    if len(messages) > MOST_MESSAGES:
        raise refused(param, f"at most {MOST_MESSAGES} (found {len(messages)})")
    places = places or [f"{param}[{number}]" for number in range(len(messages))]
    return tuple(_message(one, where) for one, where in zip(messages, places, strict=True))


def read_template_kwargs(told: dict[str, Any] | None, effort: str | None = None) -> dict[str, Any]:
    """What is said to the chat template.

    Args:
        told: in its own words.
        effort: OpenAI's word for how much is to be thought; "none" in the words of templates too.

    Raises:
        ApiError: 400: something that could change how it is run.
    """
    kwargs = dict(told or {})
    if effort is not None:
        kwargs = {**(NO_THOUGHTS if effort == "none" else {}), "reasoning_effort": effort, **kwargs}
    for name in kwargs:
        if name not in TEMPLATE_KWARGS:
            param = f"chat_template_kwargs.{name}"
            raise refused(param, f"none of {', '.join(TEMPLATE_KWARGS)}", code="unknown_parameter")
    return kwargs


def read_thinking_budget(told: int | None) -> int | None:
    """Tokens that may be thought, as vLLM's parameter has them.

    Raises:
        ApiError: 400: fewer than none.
    """
    if told is not None and told < 0:
        raise refused("thinking_token_budget", "a number of tokens, 0 or more")
    return told


def _message(message: dict[str, Any], where: str) -> dict[str, Any]:
    for key in message:
        if key not in _KEYS:
            raise refused(f"{where}.{key}", "no such parameter here", code="unknown_parameter")
    role = message.get("role")
    if role not in ROLES:
        raise refused(f"{where}.role", f"one of {', '.join(ROLES)} (found {role!r})")
    for key in ("audio", "function_call"):
        if message.get(key) is not None:
            raise refused(f"{where}.{key}", "is not done here", code="unsupported_parameter")
    read = {"role": "system" if role == "developer" else role}
    calls = message.get("tool_calls")
    content = message.get("content")
    if content is None and not calls and message.get("refusal") is None:
        raise refused(f"{where}.content", "missing")
    read["content"] = content_text(content, f"{where}.content") if content is not None else ""
    if calls:
        if role != "assistant":
            raise refused(f"{where}.tool_calls", "only an assistant's message calls functions")
        read["tool_calls"] = _calls(calls, f"{where}.tool_calls")
    for key in ("name", "tool_call_id", "reasoning_content", "reasoning"):
        if message.get(key) is not None:
            if not isinstance(message[key], str):
                raise refused(f"{where}.{key}", "a text")
            read[key] = message[key]
    return read


def content_text(content: Any, where: str) -> str:
    """A content in one piece.

    Raises:
        ApiError: 400: an image, a sound or a file, which are never fetched; or no content at all.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise refused(where, "a text, or a list of parts")
    pieces = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "input_text", "output_text", "refusal") or not isinstance(part, dict):
            raise refused(f"{where}[{number}]", f"of type {kind!r}: only text is read here")
        text = part.get("text", part.get("refusal"))
        if not isinstance(text, str):
            raise refused(f"{where}[{number}].text", "a text")
        pieces.append(text)
    return "".join(pieces)


def _calls(calls: Any, where: str) -> list[dict[str, Any]]:
    """Calls of an earlier turn; their arguments as objects, the way templates take them."""
    if not isinstance(calls, list):
        raise refused(where, "a list")
    read = []
    for number, call in enumerate(calls):
        place = f"{where}[{number}]"
        match call:
            case {"function": {"name": str() as name, "arguments": arguments}}:
                pass
            case _:
                raise refused(
                    place, 'of the form {"id", "type": "function", "function": {"name", "arguments"}}'
                )
        if isinstance(arguments, str):
            try:
                arguments = msgspec.json.decode(arguments or "{}")
            except (msgspec.DecodeError, RecursionError):
                raise refused(f"{place}.function.arguments", "are not JSON") from None
        if not isinstance(arguments, dict):
            raise refused(f"{place}.function.arguments", "a JSON object")
        told = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
        read.append({**told, "type": "function", "function": {"name": name, "arguments": arguments}})
    return read
