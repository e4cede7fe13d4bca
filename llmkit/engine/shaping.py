"""What shapes a distribution: temperature, top-n-sigma, top-k, top-p, min-p, typical-p and xtc.

Each step takes and gives float32 scores, the given ones unchanged; what it rules out becomes -inf. Tokens
with equal scores are kept or ruled out together, so that nothing hangs on the order in which a sort leaves
them.
Shapes: V vocab_size, or tokens that are left of them.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.config import SamplingConfig
from llmkit.engine.softmax import Softmax

Scores = NDArray[np.float32]
Step = Callable[[Scores, Any], Scores]
"""Takes scores, and what it is asked."""
_NUCLEUS_GUESS = 256
"""Candidates that top-p looks at first: nearly always enough, and a hundredth of a full sort."""


def shape(scores: Scores, config: SamplingConfig) -> Scores:
    """The scores after the steps of `config.samplers`, in their order."""
    for _, step, value in shaping(config):
        scores = step(scores, value)
    return scores


def shaping(
    config: SamplingConfig, chance: Callable[[], float] = lambda: 0.0
) -> Iterator[tuple[str, Step, float]]:
    """Each of the steps of `config.samplers` that is on, and what it is asked, in their order.

    Args:
        config: of the text.
        chance: a random number of the token, for xtc.
    """

    def exclude(scores: Scores, probability: float) -> Scores:
        return exclude_top(scores, config.xtc_threshold) if chance() < probability else scores

    steps: dict[str, tuple[Step, float, float | None]] = {
        "temperature": (_heat, config.temperature, None),
        "top_n_sigma": (keep_top_n_sigma, config.top_n_sigma, 0),
        "top_k": (keep_top_k, config.top_k, 0),
        "top_p": (keep_top_p, config.top_p, 1),
        "min_p": (keep_min_p, config.min_p, 0),
        "typical_p": (keep_typical_p, config.typical_p, 1),
        "xtc_probability": (exclude, config.xtc_probability, 0),
    }
    for name in config.samplers:
        step, value, off = steps[name]
        if value != off:
            yield name, step, value


def _heat(scores: Scores, temperature: float) -> Scores:
    heated = scores - scores.max()  # the best is 0: nothing overflows but what has no chance anyway
    with np.errstate(over="ignore"):
        heated /= temperature
    return heated


def keep_top_k(scores: Scores, k: int) -> Scores:
    """Only the k best, and those as good as the last of them; 0 keeps all."""
    if not 0 < k < len(scores):
        return scores
    return _keep_from(scores, np.partition(scores, -k)[-k])


def keep_top_p(scores: Scores, p: float) -> Scores:
    """Only the best ones that together have probability p (1904.09751), at least one; 1 keeps all."""
    if p >= 1:
        return scores
    wanted = p * Softmax(scores).total
    count = _NUCLEUS_GUESS
    while True:
        count = min(count, len(scores))
        best = np.sort(np.partition(scores, -count)[-count:])[::-1]
        reached = np.exp(best.astype(np.float64) - best[0]).cumsum()
        if reached[-1] >= wanted or count == len(scores):
            last = min(int(np.searchsorted(reached, wanted)), count - 1)
            return _keep_from(scores, best[last])
        count *= 16


def keep_min_p(scores: Scores, p: float) -> Scores:
    """Only those at least p times as likely as the best (2407.01082); 0 keeps all."""
    if p <= 0:
        return scores
    return _keep_from(scores, scores.max() + np.float32(math.log(p)))


def keep_typical_p(scores: Scores, p: float) -> Scores:
    """Only those that together have probability p, nearest first to the entropy in their surprise
    (2202.00666), at least one; 1 keeps all."""
    if p >= 1:
        return scores
    alive = np.flatnonzero(scores > -math.inf)
    softmax = Softmax(scores[alive])
    distance = np.abs(softmax.logprobs + softmax.entropy)
    order = np.argsort(distance)
    reached = softmax.probabilities[order].cumsum()
    last = min(int(np.searchsorted(reached, p)), len(reached) - 1)
    return _without(scores, alive[distance > distance[order[last]]])


def keep_top_n_sigma(scores: Scores, n: float) -> Scores:
    """Only those whose scores are at most n standard deviations below the best (2411.07641); 0 keeps all."""
    if n <= 0:
        return scores
    alive = scores[scores > -math.inf].astype(np.float64)
    return _keep_from(scores, np.float32(alive.max() - n * alive.std()))


def exclude_top(scores: Scores, threshold: float) -> Scores:
    """Of those with at least this probability only the least likely; and all others.

    Source: "exclude top choices", oobabooga/text-generation-webui#6335.
    """
    top = scores[Softmax(scores).probabilities >= threshold]
    return _without(scores, scores > top.min()) if len(top) else scores


def _keep_from(scores: Scores, least: np.float32) -> Scores:
    return _without(scores, scores < least)


def _without(scores: Scores, ruled_out: NDArray[np.bool_] | NDArray[np.int64]) -> Scores:
    left = scores.copy()
    left[ruled_out] = -math.inf
    return left
