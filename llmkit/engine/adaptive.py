"""Adaptive-p: draws that have on average, of what the other steps leave, the probability that is asked for.

Each token's score becomes 5 - 10 d^2 / (1 + d), where d is how far its probability is from the aim, over 0.3.
The aim is as far beyond the target as the mean of what was drawn is short of it, later tokens counting more.
Source: ggml-org/llama.cpp#17927, whose numbers these are.
"""

import math

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.config import SamplingConfig
from llmkit.engine.shaping import Scores
from llmkit.engine.softmax import Softmax

_PEAK, _SHARPNESS, _WIDTH = 5.0, 10.0, 0.3


class Adaptive:
    """What one request has drawn, and where that makes it aim."""

    def __init__(self, config: SamplingConfig) -> None:
        self._target, self._decay = config.adaptive_target, config.adaptive_decay
        self._weight = 1 / (1 - self._decay)  # as if tokens of the target had been drawn for ever
        self._sum = self._target * self._weight
        self._probabilities: NDArray[np.float64] = np.empty(0)

    @property
    def aim(self) -> float:
        """The probability that the next token is to have."""
        return min(max(2 * self._target - self._sum / self._weight, 0.0), 1.0)

    def apply(self, scores: Scores) -> Scores:
        """Scores of the tokens that are left, or of all; the given ones unchanged."""
        self._probabilities = Softmax(scores).probabilities
        distance = np.abs(self._probabilities - self.aim) / _WIDTH
        shaped = (_PEAK - _SHARPNESS * distance**2 / (1 + distance)).astype(np.float32)
        shaped[scores == -math.inf] = -math.inf
        return shaped

    def add(self, place: int) -> None:
        """Count a token that was drawn: its place among the scores that `apply` was given last."""
        self._sum = float(self._probabilities[place]) + self._decay * self._sum
        self._weight = 1 + self._decay * self._weight
