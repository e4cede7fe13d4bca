"""Whether confidence is worth what it says: reliability, and what would make it so.

Each answer has a confidence p and was right or wrong. Calibrated: of those with p = 0.8, eight in ten are
right.
"""

import math
from collections.abc import Sequence

import msgspec

_TINY = 1e-12
"""Confidences are kept this far from 0 and 1, whose logarithms are infinite."""
_COLDEST, _HOTTEST = 0.02, 50.0


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of about one confidence; `low` is in it, `high` only in the last."""

    low: float
    high: float
    count: int
    confidence: float | None
    """Mean of theirs; None of an empty bin."""
    accuracy: float | None


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Three measures of one set of confidences; 0 is the best of each."""

    ece: float
    """Expected calibration error (1706.04599): Σ n_b / n · |accuracy - confidence| over the bins."""
    brier: float
    """Mean of (p - right)² (Brier 1950)."""
    nll: float
    """Mean of -ln of the probability of what came to be."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Of labelled answers."""

    answers: int
    accuracy: float
    mean_confidence: float
    scores: Scores
    auroc: float | None
    """Chance that a right answer is more confident than a wrong one; None where all are alike."""
    temperature: float
    """By which the log odds are divided to have the least nll; above 1: they are too far from even."""
    scores_at_temperature: Scores
    threshold: float | None
    """The lowest confidence at or above which `keep_accuracy` of the answers are right; None: never."""
    kept: int
    """Answers at or above it."""
    keep_accuracy: float
    bins: list[Bin]


def calibrate(
    confidences: Sequence[float], right: Sequence[bool], *, bins: int = 15, keep_accuracy: float = 0.9
) -> Calibration:
    """Measure how far confidences can be believed.

    Args:
        confidences: 0 to 1.
        right: of each, whether it was.
        bins: of equal width.
        keep_accuracy: what a threshold is to reach.

    Raises:
        ValueError: nothing, not as many of both, or a confidence that is none.
    """
    if not confidences or len(confidences) != len(right) or not all(0 <= p <= 1 for p in confidences):
        raise ValueError("confidences from 0 to 1, one for each answer")
    temperature = fit_temperature(confidences, right)
    threshold, kept = find_threshold(confidences, right, keep_accuracy)
    cooled = [at_temperature(p, temperature) for p in confidences]
    return Calibration(
        answers=len(right),
        accuracy=sum(right) / len(right),
        mean_confidence=math.fsum(confidences) / len(confidences),
        scores=_scores(confidences, right, bins),
        auroc=auroc(confidences, right),
        temperature=temperature,
        scores_at_temperature=_scores(cooled, right, bins),
        threshold=threshold,
        kept=kept,
        keep_accuracy=keep_accuracy,
        bins=reliability(confidences, right, bins),
    )


def reliability(confidences: Sequence[float], right: Sequence[bool], bins: int) -> list[Bin]:
    """Answers in bins of equal width."""
    members: list[list[int]] = [[] for _ in range(bins)]
    for place, p in enumerate(confidences):
        members[min(int(p * bins), bins - 1)].append(place)
    return [
        Bin(
            low=number / bins,
            high=(number + 1) / bins,
            count=len(places),
            confidence=math.fsum(confidences[one] for one in places) / len(places) if places else None,
            accuracy=sum(right[one] for one in places) / len(places) if places else None,
        )
        for number, places in enumerate(members)
    ]


def at_temperature(p: float, temperature: float) -> float:
    """A confidence whose log odds are divided by a temperature."""
    p = min(max(p, _TINY), 1 - _TINY)
    odds = math.log(p / (1 - p)) / temperature
    return 1 / (1 + math.exp(-odds)) if odds >= 0 else 1 - 1 / (1 + math.exp(odds))


def fit_temperature(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """The temperature with the least nll, between 0.02 and 50.

    The nll is convex in 1 / temperature: halving the interval by thirds finds the one valley there is.
    """

    def loss(cold: float) -> float:
        return _nll([at_temperature(p, 1 / cold) for p in confidences], right)

    low, high = 1 / _HOTTEST, 1 / _COLDEST
    for _ in range(100):
        left, middle = low + (high - low) / 3, high - (high - low) / 3
        if loss(left) <= loss(middle):
            high = middle
        else:
            low = left
    return 2 / (low + high)


def find_threshold(
    confidences: Sequence[float], right: Sequence[bool], keep_accuracy: float
) -> tuple[float | None, int]:
    """The lowest confidence above which answers are right often enough, and how many those are."""
    order = sorted(zip(confidences, right, strict=True), reverse=True)
    best: tuple[float | None, int] = (None, 0)
    good = 0
    for count, (p, is_right) in enumerate(order, 1):
        good += is_right
        is_last_of_equals = count == len(order) or order[count][0] != p
        if is_last_of_equals and good >= keep_accuracy * count:
            best = p, count
    return best


def auroc(confidences: Sequence[float], right: Sequence[bool]) -> float | None:
    """Area under the curve of true against false alarms: Mann and Whitney's U as a share; ties count half."""
    good = sum(right)
    bad = len(right) - good
    if not good or not bad:
        return None
    order = sorted(zip(confidences, right, strict=True))
    ranks = 0.0
    place = 0
    while place < len(order):
        end = place
        while end < len(order) and order[end][0] == order[place][0]:
            end += 1
        ranks += sum(is_right for _, is_right in order[place:end]) * (place + end + 1) / 2
        place = end
    return (ranks - good * (good + 1) / 2) / (good * bad)


def _scores(confidences: Sequence[float], right: Sequence[bool], bins: int) -> Scores:
    table = reliability(confidences, right, bins)
    gaps = [
        one.count * abs(one.accuracy - one.confidence)
        for one in table
        if one.accuracy is not None and one.confidence is not None
    ]
    return Scores(
        ece=math.fsum(gaps) / len(right),
        brier=math.fsum((p - y) ** 2 for p, y in zip(confidences, right, strict=True)) / len(right),
        nll=_nll(confidences, right),
    )


def _nll(confidences: Sequence[float], right: Sequence[bool]) -> float:
    chances = (p if y else 1 - p for p, y in zip(confidences, right, strict=True))
    return -math.fsum(math.log(max(one, _TINY)) for one in chances) / len(right)
