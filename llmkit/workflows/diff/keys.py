"""JSON objects key by key: which keys are in one only, which have another value."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

import msgspec

from llmkit.formats.flattened import flattened

Side = Literal["a", "b"]


class KeyDiff(msgspec.Struct, frozen=True, kw_only=True):
    """One key that is not the same in both."""

    file: str
    key: str
    """Dotted, where objects are nested."""
    a: Any
    b: Any
    only: Side | None
    """The side that has the key; None: both, with other values."""


def diff_keys(file: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> list[KeyDiff]:
    """Every key whose value differs, in the order of A and then of B. Lists are compared whole."""
    flat_a, flat_b = flattened(a), flattened(b)
    return [
        KeyDiff(
            file=file,
            key=key,
            a=flat_a.get(key),
            b=flat_b.get(key),
            only="a" if key not in flat_b else "b" if key not in flat_a else None,
        )
        for key in [*flat_a, *(key for key in flat_b if key not in flat_a)]
        if key not in flat_a or key not in flat_b or not _same(flat_a[key], flat_b[key])
    ]


def split_remarks(found: list[KeyDiff], remarks: Collection[str]) -> tuple[list[KeyDiff], list[KeyDiff]]:
    """What counts as a difference, and what is only good to know: keys that `remarks` names."""
    counted = [one for one in found if one.key not in remarks]
    return counted, [one for one in found if one.key in remarks]


def _same(a: Any, b: Any) -> bool:
    """Equal as JSON: 1 is 1.0, but no `true`."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)
