"""Whether two results on the same records differ by more than chance: paired tests, without tables."""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

ENUMERATED = 16
"""Records up to which every assignment of signs is tried: 65,536 of them."""
ROUNDS = 10_000


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided p-value of McNemar's test (1947): a fair coin for each record that changed.

    Args:
        lost: records that were right and are wrong now.
        won: the other way round. Those that did not change say nothing.
    """
    count = lost + won
    tail = sum(math.comb(count, k) for k in range(min(lost, won) + 1))
    return min(1.0, 2 * tail / (1 << count))


def sign_flip(differences: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p-value of a mean difference: how often the mean would be as far from 0, were signs chance.

    Fisher's paired randomisation test. Exact up to 16 records that differ; of more ROUNDS random
    assignments, the one that was found counted among them, so that it is never 0.
    """
    data: NDArray[np.float64] = np.asarray([one for one in differences if one], np.float64)
    if not len(data):
        return 1.0
    least = abs(float(data.sum())) * (1 - 1e-12)  # equal sums in another order of additions are equal
    if len(data) <= ENUMERATED:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(data))))
        return float((np.abs(signs @ data) >= least).mean())
    generator = np.random.default_rng(seed)
    reached, step = 0, max(1, 4_000_000 // len(data))
    for first in range(0, ROUNDS, step):
        shape = (min(step, ROUNDS - first), len(data))
        flips = generator.integers(0, 2, shape, dtype=np.int8) * 2.0 - 1.0
        reached += int((np.abs(flips @ data) >= least).sum())
    return (reached + 1) / (ROUNDS + 1)


def two_sided(z: float) -> float:
    """p-value of a difference of so many standard errors, under a normal distribution."""
    return math.erfc(abs(z) / math.sqrt(2))
