"""JSON objects without objects in them: each key by the way to it."""

from collections.abc import Mapping
from typing import Any


def flattened(content: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Of `{"a": {"b": 1}}`: `{"a.b": 1}`. Lists stay as they are, and so does an object without keys."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and value:
            flat |= flattened(value, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = value
    return flat
