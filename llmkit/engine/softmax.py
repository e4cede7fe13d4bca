"""The distribution that a model's scores stand for.

Shapes: V vocab_size, or tokens that are left of them.
"""

import math

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError

_LEAST = -1000.0
"""Of logarithms: what is this unlikely has no part in a sum, and a product with 0 stays a number."""


class Softmax:
    """Tokens beside the best of them, in float64.

    Attributes:
        weights: (V,) how likely each is beside the best, whose weight is 1.
        total: of all weights.
    """

    def __init__(self, scores: NDArray[np.float32]) -> None:
        """scores: (V,), -inf for what is ruled out.

        Raises:
            DataError: the best score is not a number.
        """
        self._scores = scores
        self._best = finite(float(scores.max()))
        self._below = scores.astype(np.float64)
        self._below -= self._best
        self.weights: NDArray[np.float64] = np.exp(self._below)
        self.total = float(self.weights.sum())

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(V,), which add up to 1."""
        return self.weights / self.total

    @property
    def logprobs(self) -> NDArray[np.float64]:
        """(V,) logarithms of the probabilities."""
        return self._below - math.log(self.total)

    @property
    def entropy(self) -> float:
        """How open the choice is, in natural units."""
        # no product of BLAS, whose threads would spin in the kernels' turn
        expected = float((self.weights * np.maximum(self._below, _LEAST)).sum())
        return math.log(self.total) - expected / self.total

    @property
    def entropy_bits(self) -> float:
        """How open the choice is."""
        return self.entropy / math.log(2)

    def logprob(self, token: int) -> float:
        """The logarithm of a token's probability."""
        return float(self._scores[token]) - self._best - math.log(self.total)


def logprob(scores: NDArray[np.float32], token: int) -> float:
    """The logarithm of one token's probability, in half the time: float32 but for the sum. scores: (V,).

    Raises:
        DataError: the best score is not a number.
    """
    best = scores.max()
    finite(float(best))
    total = np.exp(scores - best).sum(dtype=np.float64)
    return float(scores[token]) - float(best) - math.log(total)


def best_of(scores: NDArray[np.float32], count: int) -> list[int]:
    """Places of the `count` best not ruled out, best first; of equal ones the first. scores: (V,)."""
    count = min(count, len(scores))
    if count < 1:
        return []
    least = np.partition(scores, -count)[-count]
    found = np.flatnonzero((scores >= least) & (scores > -math.inf))
    return found[np.argsort(-scores[found], kind="stable")[:count]].tolist()


def finite(value: float) -> float:
    """The value, of which a draw can be made.

    Raises:
        DataError: it is infinite, or no number.
    """
    if not math.isfinite(value):
        raise DataError(
            f"the model's scores are not finite (found {value})",
            hint="the weights are damaged, or overflow in float16: llmkit doctor MODEL, --dtype float32",
        )
    return value
