"""The steps of a part of tokenizer.json, one after another."""

from typing import Any

_INSIDE = ("normalizers", "pretokenizers", "decoders")
"""Where a sequence has its steps, by what it is."""


def steps_of(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a normalizer, a pre-tokenizer or a decoder, sequences in it flattened; none of None."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [step for key in _INSIDE for inner in part.get(key) or () for step in steps_of(inner)]
