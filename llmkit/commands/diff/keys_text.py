"""Keys of two JSON objects side by side, as text."""

from collections.abc import Sequence

import msgspec

from llmkit.commands.facts import visible
from llmkit.commands.shared import align
from llmkit.workflows.diff.keys import KeyDiff, Side

_KEYS_SHOWN = 30
_VALUE_WIDTH = 32


def keys_table(keys: Sequence[KeyDiff]) -> list[str]:
    """Key, value in A, value in B."""
    if not keys:
        return []
    shown = [(visible(one.key), side_text(one, "a"), side_text(one, "b")) for one in keys[:_KEYS_SHOWN]]
    more = [f"  and {len(keys) - _KEYS_SHOWN:,} more (--json has them)"] * (len(keys) > _KEYS_SHOWN)
    return [*align([("key", "A", "B"), *shown], indent=2).split("\n"), *more]


def side_text(one: KeyDiff, side: Side) -> str:
    """A value as JSON, long ones cut; `-` where this side has no such key."""
    if one.only is not None and one.only != side:
        return "-"
    text = msgspec.json.encode(one.a if side == "a" else one.b).decode()
    return visible(text if len(text) <= _VALUE_WIDTH else text[: _VALUE_WIDTH - 1] + "…")
