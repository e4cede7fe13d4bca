"""One ranking of several."""

from collections.abc import Iterable, Sequence

from llmkit.retrieve.search import Found

RANK = 60
"""Added to each rank (Cormack, Clarke and Büttcher, Reciprocal Rank Fusion, 2009)."""
DEPTH = 100
"""Places of each ranking that are looked at, at least."""


def fuse(rankings: Iterable[Sequence[Found]], most: int) -> list[Found]:
    """The passages that rankings have in common high up.

    Args:
        rankings: each with the best first; their scores do not count, their places do.
        most: passages to return.

    Returns:
        the best first, the score of each the sum of 1 / (RANK + place), places from 1; of equal ones the one
        with the lowest number.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for place, found in enumerate(ranking, 1):
            scores[found.passage] = scores.get(found.passage, 0.0) + 1 / (RANK + place)
    fused = [Found(passage, score) for passage, score in scores.items()]
    return sorted(fused, key=lambda found: (-found.score, found.passage))[:most]
