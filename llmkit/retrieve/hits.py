"""What a search found, with its texts and where they are from."""

from collections.abc import Callable, Sequence

import msgspec

from llmkit.retrieve.search import Found
from llmkit.retrieve.store import Store, StoredPassage


class Hit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A passage that was found."""

    id: str
    """`DOCUMENT:START-END`: the same in every index that cuts the document the same way."""
    score: float
    document: str
    start: int
    """Of its characters in the document."""
    end: int
    heading: str = ""
    text: str
    source: msgspec.Raw | None = None
    metadata: msgspec.Raw | None = None
    """As the document had them."""


Find = Callable[[str, int], list[Hit]]
"""A query, and how many passages at most, to those passages, the best first."""


def hits_of(store: Store, found: Sequence[Found]) -> list[Hit]:
    """What a search found, in its order."""
    stored = store.passages_of([one.passage for one in found])
    return [_hit(passage, one.score) for passage, one in zip(stored, found, strict=True)]


def _hit(passage: StoredPassage, score: float) -> Hit:
    return Hit(
        id=f"{passage.document}:{passage.start}-{passage.end}",
        score=score,
        document=passage.document,
        start=passage.start,
        end=passage.end,
        heading=passage.heading,
        text=passage.text,
        source=passage.record.get("source"),
        metadata=passage.record.get("metadata"),
    )
