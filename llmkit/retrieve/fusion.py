"""One ranking of several, by weighted reciprocal ranks (Cormack, Clarke, Büttcher, SIGIR 2009).

Scores of words and of vectors have no unit in common; places do.
"""

from collections.abc import Hashable, Sequence
from typing import TypeVar

from llmkit.retrieve.config import RANK

Key = TypeVar("Key", bound=Hashable)
DEPTH = 100
"""Places of each ranking that are looked at, at least."""


def fuse(rankings: Sequence[Sequence[Key]], weights: Sequence[float], most: int) -> list[tuple[Key, float]]:
    """What rankings have in common high up.

    Args:
        rankings: each with the best first, and nothing twice.
        weights: of each.
        most: how many come back.

    Returns:
        the best first, with the sum of weight / (RANK + place), places from 1; of equal ones the one that
        stands higher in the first ranking that has any.
    """
    scores: dict[Key, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for place, key in enumerate(ranking, 1):
            scores[key] = scores.get(key, 0.0) + weight / (RANK + place)
    return sorted(scores.items(), key=lambda one: -one[1])[:most]
