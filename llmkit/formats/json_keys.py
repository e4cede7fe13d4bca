"""JSON objects that have a key twice: readers keep the last one and say nothing, others the first."""

import re
from collections import Counter
from typing import Any

from llmkit.errors import DataError

_KEY = re.compile(rb'"\s*:')


def refuse_twice(name: str, content: bytes, decoded: Any) -> None:
    """Refuse a key that stands twice in one object.

    Args:
        name: of the file, for messages.
        content: the JSON.
        decoded: what a reader made of it.

    Raises:
        DataError: names the key.
    """
    if sum(1 for _ in _KEY.finditer(content)) == _num_keys(decoded):
        return  # as many as were kept; a string that looks like a key is told apart below
    import json

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        kept = dict(pairs)
        if len(kept) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice = next(key for key, count in counts.items() if count > 1)
            raise DataError(f"{name}: the key {twice!r} is there twice", hint="remove the one that is wrong")
        return kept

    json.loads(content, object_pairs_hook=unique)


def _num_keys(decoded: Any) -> int:
    """Of an object and of all in it."""
    if isinstance(decoded, dict):
        return len(decoded) + sum(_num_keys(one) for one in decoded.values())
    return sum(_num_keys(one) for one in decoded) if isinstance(decoded, list) else 0
