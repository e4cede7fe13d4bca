"""How far a figure may be off: Wilson's interval of a share, the error of a mean of clusters, a bootstrap."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.probe.evaluate.headline import Z95

_DRAWS = 10_000
"""Samples of a bootstrap."""


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """Where a figure lies, with 95 % confidence."""

    low: float
    high: float
    method: str
    """How it was found, and over what."""
    level: float = 0.95


def wilson(right: int, count: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share of `right` in `count` (1927): never beyond 0 and 1.

    Raises:
        ValueError: of nothing there is no share.
    """
    if not 0 <= right <= count or not count:
        raise ValueError(f"{right} of {count}")
    share, grown = right / count, z * z / count
    middle = (share + grown / 2) / (1 + grown)
    half = z * math.sqrt(share * (1 - share) / count + grown / (4 * count)) / (1 + grown)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return (0.0 if right == 0 else low), (1.0 if right == count else high)


def ratio_error(sums: Sequence[float], counts: Sequence[int]) -> float:
    """Standard error of Σ sums / Σ counts, where each pair is of a cluster and clusters are independent.

    The tokens of a document are no independent draws: taken as such the error comes out too small. This is
    the linearised variance of a ratio r (Cochran 1977, 6.4): Σ (s - r c)² · n / (n - 1) / (Σ c)².
    0 where there are less than two clusters.
    """
    n, total = len(sums), sum(counts)
    if n < 2 or not total:
        return 0.0
    ratio = math.fsum(sums) / total
    spread = math.fsum((one - ratio * count) ** 2 for one, count in zip(sums, counts, strict=True))
    return math.sqrt(spread * n / (n - 1)) / total


def mean_error(values: Sequence[float]) -> float:
    """Standard error of a mean; 0 of less than two values.

    Where all are right or all wrong, 1 or 0 each, that they do not differ says little of others: the error is
    that of Wilson's interval, 1.96 of which are half of it.
    """
    if values and values[0] in (0, 1) and all(one == values[0] for one in values):
        low, high = wilson(round(sum(values)), len(values))
        return (high - low) / 2 / Z95
    return ratio_error(values, [1] * len(values))


def bootstrap_mean(values: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """Percentiles 2.5 and 97.5 of the means of samples drawn with replacement (Efron 1979)."""
    data: NDArray[np.float64] = np.asarray(values, np.float64)
    generator = np.random.default_rng(seed)
    means: list[Any] = []
    step = max(1, 4_000_000 // max(1, len(data)))
    for first in range(0, _DRAWS, step):
        drawn = generator.integers(0, len(data), (min(step, _DRAWS - first), len(data)))
        means.append(data[drawn].mean(axis=1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def bootstrap_interval(values: Sequence[float], what: str, *, seed: int = 0) -> Interval | None:
    """Of a mean, by a bootstrap; None of one value, which says nothing of how much others differ.

    Args:
        values: that it is the mean of.
        what: the kind of bootstrap and of values, for the method: "paired bootstrap of 12 tasks".
        seed: of the samples.
    """
    if len(values) < 2:
        return None
    low, high = bootstrap_mean(values, seed=seed)
    return Interval(low=low, high=high, method=f"{what}, {_DRAWS:,} samples, percentiles")
