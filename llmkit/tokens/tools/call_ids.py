"""Ids of calls as some templates want them, whatever a client has called them."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

_NINE = re.compile(r"[A-Za-z0-9]{9}")


def nine_letters(name: str) -> str:
    """The id of a call as Mistral's templates want it: itself, or nine letters, the same each time."""
    return name if _NINE.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()[:9]


def numbered(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages whose calls have ids as Kimi's have, counted through the conversation."""
    told: list[dict[str, Any]] = []
    ids: dict[str | None, str] = {}
    count = 0
    for message in messages:
        message, calls = dict(message), []
        for call in message.get("tool_calls") or ():
            ids[call.get("id")] = name = f"functions.{call['function']['name']}:{count}"
            calls.append({**call, "id": name})
            count += 1
        if calls:
            message["tool_calls"] = calls
        if message["role"] == "tool" and message.get("tool_call_id") in ids:
            message["tool_call_id"] = ids[message.get("tool_call_id")]
        told.append(message)
    return told
