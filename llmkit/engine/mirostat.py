"""Mirostat: draws that surprise by as many bits on average as is asked for, of what the other steps leave.

The first version guesses by Zipf's law, from the likeliest tokens, how many to keep; the second one keeps
those that surprise by no more than the limit. Either moves the limit by what the drawn token was off.
Source: Basu et al. 2021, arXiv:2007.14966; the second as in ggml-org/llama.cpp, whose numbers these are.
"""

import math

import numpy as np

from llmkit.engine.config import SamplingConfig
from llmkit.engine.shaping import Scores, keep_top_k
from llmkit.engine.softmax import Softmax

_LIKELIEST = 100
"""Tokens that tell how steeply probabilities fall."""


class Mirostat:
    """What one request has drawn, and by how many bits the next token may surprise.

    Args:
        config: of the request.
        vocab_size: tokens of the model, of which the first version takes the law to hold.
    """

    def __init__(self, config: SamplingConfig, vocab_size: int) -> None:
        self._version, self._vocab_size = config.mirostat, vocab_size
        self._target, self._rate = config.mirostat_tau, config.mirostat_eta
        self.limit = 2 * self._target
        """In bits."""
        self._left = Softmax(np.zeros(1, np.float32))

    def apply(self, scores: Scores) -> Scores:
        """Scores of the tokens that are left, or of all; the given ones unchanged."""
        softmax = Softmax(scores)
        if self._version == 1:
            shaped = keep_top_k(scores, self._count(softmax))
        else:
            shaped = scores.copy()
            shaped[(-softmax.logprobs / math.log(2) > self.limit) & (scores < scores.max())] = -math.inf
        self._left = Softmax(shaped)
        return shaped

    def add(self, place: int) -> None:
        """Count a token that was drawn: its place among the scores that `apply` was given last."""
        surprise = -float(self._left.logprobs[place]) / math.log(2)
        self.limit -= self._rate * (surprise - self._target)

    def _count(self, softmax: Softmax) -> int:
        """Tokens to keep, at least one, so that they surprise as they may: the paper's algorithm 1."""
        likeliest = np.sort(softmax.logprobs)[::-1][:_LIKELIEST]
        likeliest = likeliest[likeliest > -math.inf]
        ranks = np.arange(1, len(likeliest))
        ratios = np.log((ranks + 1) / ranks)
        exponent = float((ratios * -np.diff(likeliest)).sum() / (ratios**2).sum()) if len(ranks) else 0.0
        if exponent <= 0:  # all are equally likely
            return len(softmax.weights)
        excess, size = exponent - 1, math.log(self._vocab_size)
        share = excess / -math.expm1(-excess * size) if excess * size else 1 / size
        kept = (math.log(share) + self.limit * math.log(2)) / exponent
        return max(1, int(math.exp(kept))) if kept < size else self._vocab_size
