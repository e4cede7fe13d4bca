"""How good a ranking is, beside what is known to be relevant.

    recall@k   relevant documents among the first k, of all relevant ones
    MRR@k      1 / place of the first relevant one; 0 where none is among the first k
    nDCG@k     sum over places of gain / log2(place + 1), of the best that any ranking could have

Gain is the grade itself (Järvelin and Kekäläinen 2002; trec_eval's ndcg_cut), 1 where there are no grades.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import log2
from typing import NamedTuple


class Relevance(NamedTuple):
    """Of one query, or the mean of several."""

    recall: float
    mrr: float
    ndcg: float


def judge(ranking: Sequence[str], relevant: Mapping[str, float], k: int) -> Relevance:
    """One query's figures.

    Args:
        ranking: ids, the best first; one that comes again counts where it came first.
        relevant: grades above zero of those that are relevant; not empty.
        k: places that are looked at.
    """
    first = list(dict.fromkeys(ranking))[:k]
    gains = [relevant.get(one, 0.0) for one in first]
    places = [place for place, gain in enumerate(gains, 1) if gain > 0]
    ideal = _gain(sorted(relevant.values(), reverse=True)[:k])
    return Relevance(
        recall=len(places) / len(relevant),
        mrr=1 / places[0] if places else 0.0,
        ndcg=_gain(gains) / ideal,
    )


def mean_of(figures: Iterable[Relevance]) -> Relevance:
    """The mean over queries; at least one."""
    rows = list(figures)
    return Relevance(*(sum(column) / len(rows) for column in zip(*rows, strict=True)))


def _gain(gains: Sequence[float]) -> float:
    return sum(gain / log2(place + 1) for place, gain in enumerate(gains, 1))
