"""Server-sent events, as bytes. Source: the WHATWG's HTML standard, "Server-sent events"."""

from typing import Any

import msgspec

DONE = b"data: [DONE]\n\n"


def data(content: dict[str, Any]) -> bytes:
    """An event without a name."""
    return b"data: " + msgspec.json.encode(content) + b"\n\n"


def event(name: str, content: dict[str, Any]) -> bytes:
    """An event with one."""
    return b"event: " + name.encode() + b"\n" + data(content)
