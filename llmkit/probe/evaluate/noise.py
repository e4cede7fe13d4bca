"""Whether two figures differ by more than noise, where nothing is known of their records but the counts."""

import math
from dataclasses import dataclass
from functools import partial

from llmkit.probe.evaluate.compare import two_sided
from llmkit.probe.evaluate.headline import Z95, Headline
from llmkit.probe.evaluate.intervals import Interval, wilson

Share = tuple[int, int]
"""How many were right, of how many."""


@dataclass(frozen=True)
class Noise:
    """Of the difference of two figures, taken as independent; None where it is not known."""

    error: float | None
    """Standard error."""
    interval: Interval | None
    p_value: float | None
    test: str


def noise_between(
    before: Headline, after: Headline, shares: tuple[Share | None, Share | None] = (None, None)
) -> Noise:
    """How much of `after` less `before` may be chance.

    Two errors of 0 are not taken as certainty: who has one record, or many that are alike, knows no noise.

    Args:
        before, after: the figures.
        shares: what each is a share of, where both are: few records, or all of them right, have no standard
            error that can be believed, and are compared by the counts.
    """
    difference = after.value - before.value
    one, other = shares
    if one is not None and other is not None:
        low, high = newcombe(one, other)
        return Noise(
            error=(high - low) / 2 / Z95,
            interval=Interval(low=low, high=high, method="Newcombe's, of two independent shares"),
            p_value=fisher(one, other),
            test="Fisher's of two independent shares, exact",
        )
    known = before.error is not None and after.error is not None
    error = math.hypot(before.error or 0.0, after.error or 0.0) if known else 0.0
    if not error:
        return Noise(None, None, None, "none: how much of it is noise is not known")
    return Noise(
        error=error,
        interval=Interval(
            low=difference - Z95 * error,
            high=difference + Z95 * error,
            method="1.96 standard errors, the two reports taken as independent",
        ),
        p_value=two_sided(difference / error),
        test="z of two independent figures",
    )


def newcombe(one: Share, other: Share) -> tuple[float, float]:
    """95 % interval of the second share less the first, of Wilson's of both (Newcombe 1998, method 10)."""
    (low_a, high_a), (low_b, high_b) = wilson(*one), wilson(*other)
    a, b = one[0] / one[1], other[0] / other[1]
    return b - a - math.hypot(b - low_b, high_a - a), b - a + math.hypot(high_b - b, a - low_a)


def fisher(one: Share, other: Share) -> float:
    """Two-sided p-value of Fisher's exact test: of the tables with these sums, those as unlikely."""
    right, chance = one[0] + other[0], partial(_log_chance, one[1], other[1], one[0] + other[0])
    most = chance(one[0]) + 1e-7  # equal chances, summed in another order, are equal
    places = range(max(0, right - other[1]), min(right, one[1]) + 1)
    return min(1.0, math.fsum(math.exp(found) for place in places if (found := chance(place)) <= most))


def _log_chance(count: int, others: int, right: int, place: int) -> float:
    """ln of the hypergeometric chance that `place` of all that are right are in the first share."""
    return _log_ways(count, place) + _log_ways(others, right - place) - _log_ways(count + others, right)


def _log_ways(count: int, chosen: int) -> float:
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)
