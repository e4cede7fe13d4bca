"""The passages of a prompt: those that were found, joined where they overlap, as many as a budget holds."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Order = Literal["score", "document"]


@dataclass(frozen=True)
class Excerpt:
    """A part of a document that goes into a prompt."""

    document: str
    start: int
    """Of its characters in the document."""
    end: int
    text: str
    score: float
    heading: str = ""


def pack(
    found: Sequence[Excerpt], cost: Callable[[Excerpt], int], budget: int, order: Order = "score"
) -> list[Excerpt]:
    """The excerpts that a prompt gets.

    They are taken from the best on. One that overlaps or touches a taken one of its document is joined with
    it; one whose text is already there is left out; one that the budget has no room for is passed over, and a
    shorter one behind it may still fit. Where none fits, the best is cut short.

    Args:
        found: the best first.
        cost: tokens that an excerpt takes with all that is written around it.
        budget: most tokens of all.
        order: how they stand: the best first, or as in their documents, the document of the best first.
    """
    taken: list[Excerpt] = []
    for one in found:
        near = [other for other in taken if _touches(other, one)]
        if not near and any(one.text.strip() in other.text for other in taken):
            continue
        rest = [other for other in taken if other not in near]
        joined = _joined([*near, one])
        if sum(map(cost, (*rest, joined))) <= budget:
            taken = [*rest, joined]
    if not taken and found:
        taken = _shortened(found[0], cost, budget)
    taken.sort(key=lambda one: -one.score)
    if order == "document":
        first = {one.document: place for place, one in reversed(list(enumerate(taken)))}
        taken.sort(key=lambda one: (first[one.document], one.start))
    return taken


def _shortened(one: Excerpt, cost: Callable[[Excerpt], int], budget: int) -> list[Excerpt]:
    """The beginning of an excerpt, up to the last word that fits; nothing where none does."""
    ends = [place for place, character in enumerate(one.text) if character.isspace()]
    parts = [replace(one, end=one.start + end, text=one.text[:end]) for end in ends]
    fitting = bisect_right(parts, budget, key=cost)
    return [parts[fitting - 1]] if fitting and parts[fitting - 1].text.strip() else []


def _touches(one: Excerpt, other: Excerpt) -> bool:
    return one.document == other.document and one.start <= other.end and other.start <= one.end


def _joined(parts: Sequence[Excerpt]) -> Excerpt:
    """Neighbours as one, what they share written once; it scores as its best part."""
    whole, *others = sorted(parts, key=lambda one: one.start)
    for one in others:
        if one.end > whole.end:
            whole = replace(whole, end=one.end, text=whole.text + one.text[whole.end - one.start :])
    return replace(whole, score=max(one.score for one in parts))
