"""From scores to a token: temperature, top-k, top-p, min-p, and one random number.

Each step takes and gives (V,) float32 logits; what it rules out becomes -inf. Tokens with equal scores are
kept or ruled out together, so that nothing hangs on the order in which a sort leaves them.
Shapes: V vocab_size.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from llmkit.engine.config import SamplingConfig
from llmkit.engine.penalties import Penalties
from llmkit.errors import DataError

_NUCLEUS_GUESS = 256
"""Candidates that top-p looks at first: nearly always enough, and a hundredth of a full sort."""


class Sampler:
    """Draws the tokens of one text."""

    def __init__(self, config: SamplingConfig, prompt: Sequence[int], vocab_size: int) -> None:
        self._config = config
        self._penalties = Penalties(config, prompt, vocab_size) if config.has_penalties else None
        self._generator = torch.Generator().manual_seed(config.seed)

    def draw(self, logits: Tensor) -> int:
        """The next token of a text whose model scores it (V,).

        Raises:
            DataError: a score is not a number.
        """
        if self._penalties is not None:
            logits = self._penalties.apply(logits)
        if self._config.is_greedy:
            token = _best(logits)
        else:
            token = _draw(shape(logits, self._config), self._generator)
        if self._penalties is not None:
            self._penalties.add(token)
        return token


def shape(logits: Tensor, config: SamplingConfig) -> Tensor:
    """The scores after temperature, top-k, top-p and min-p."""
    logits = (logits - logits.max()) / config.temperature  # the best is 0: nothing overflows
    logits = keep_top_k(logits, config.top_k)
    logits = keep_top_p(logits, config.top_p)
    return keep_min_p(logits, config.min_p)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Only the k best, and those as good as the last of them; 0 keeps all."""
    if not 0 < k < len(logits):
        return logits
    return _keep_from(logits, logits.topk(k, sorted=False).values.min())


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Only the best ones that together have probability p (1904.09751), at least one; 1 keeps all."""
    if p >= 1:
        return logits
    total = logits.double().logsumexp(0)
    count = _NUCLEUS_GUESS
    while True:
        best = logits.topk(min(count, len(logits))).values
        reached = (best.double() - total).exp().cumsum(0)
        if reached[-1] >= p or len(best) == len(logits):
            last = min(int((reached < p).sum()), len(best) - 1)
            return _keep_from(logits, best[last])
        count *= 16


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Only those at least p times as likely as the best (2407.01082); 0 keeps all."""
    if p <= 0:
        return logits
    return _keep_from(logits, logits.max() + math.log(p))


def _keep_from(logits: Tensor, least: Tensor) -> Tensor:
    return logits.masked_fill(logits < least, -math.inf)


def _best(logits: Tensor) -> int:
    value, token = logits.max(0)  # of equal ones the first, as argmax
    _check(value)
    return int(token)


def _draw(logits: Tensor, generator: torch.Generator) -> int:
    """One token, by the inverse of the cumulative distribution.

    One random number a token, whatever the vocabulary: scores that differ in their last bits, as on another
    machine, nearly always give the same token.
    """
    cumulative = torch.softmax(logits, 0, dtype=torch.float64).cumsum(0)
    _check(cumulative[-1])
    chance = torch.rand(1, generator=generator, dtype=torch.float64)  # below 1
    return int(torch.searchsorted(cumulative, chance * cumulative[-1], right=True))


def _check(value: Tensor) -> None:
    if not math.isfinite(value):
        raise DataError(
            f"the model's scores are not finite (found {float(value)})",
            hint="the weights are damaged, or overflow in float16: llmkit doctor MODEL, --dtype float32",
        )
