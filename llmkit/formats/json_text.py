"""JSON for people: one key a line, a line feed at the end."""

from typing import Any

import msgspec


def json_text(value: Any) -> bytes:
    """Anything that msgspec encodes, as the content of a file."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
