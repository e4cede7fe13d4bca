"""Settings and figures without objects in them: each key by the way to it."""

from typing import Any


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Of `{"a": {"b": 1}}`: `{"a.b": 1}`; objects in lists stay, an empty object leaves nothing."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
