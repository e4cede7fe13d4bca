"""From scores to a token: bias, penalties, grammar, temperature, top-n-sigma, top-k, top-p, min-p, typical-p,
xtc, and one random number; xtc takes one more.

Each step takes and gives float32 logits; what it rules out becomes -inf. Tokens with equal scores are kept or
ruled out together, so that nothing hangs on the order in which a sort leaves them. No step looks at what was
ruled out before it, so a draw goes on with the tokens that are left, a few of thousands.
Shapes: V vocab_size, C candidates that are left.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.engine.bias import Bias
from llmkit.engine.config import SamplingConfig
from llmkit.engine.grammar import Matcher
from llmkit.engine.penalties import Penalties
from llmkit.engine.request import Drawn, Scored
from llmkit.errors import DataError

Step = Callable[[Tensor, Any], Tensor]
"""Takes scores, and what it is asked."""
_RULES_OUT_MOST = frozenset({"top_n_sigma", "top_k", "top_p", "min_p", "typical_p"})
_BLOCK = 256
_NUCLEUS_GUESS = 256
"""Candidates that top-p looks at first: nearly always enough, and a hundredth of a full sort."""


class Sampler:
    """Draws the tokens of one text."""

    def __init__(
        self, config: SamplingConfig, prompt: Sequence[int], vocab_size: int, matcher: Matcher | None = None
    ) -> None:
        self._config = config
        self._bias = Bias(config.logit_bias) if config.logit_bias else None
        self._penalties = Penalties(config, prompt, vocab_size) if config.has_penalties else None
        self._matcher = matcher
        self._generator = torch.Generator().manual_seed(config.seed)
        self._chance: float | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the text can only end here, by its grammar."""
        return self._matcher is not None and self._matcher.is_complete

    def draw(self, logits: Tensor) -> int:
        """The next token of a text whose model scores it (V,).

        Raises:
            DataError: a score is not a number, or no token goes on as the grammar asks.
        """
        for _, stepped in self._given(logits):
            logits = stepped
        token = _best(logits) if self._config.is_greedy else self._draw(logits)
        self._chance = None
        if self._penalties is not None:
            self._penalties.add(token)
        if self._matcher is not None:
            self._matcher.consume(token)
        return token

    def steps(self, logits: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Scores (V,) after each step that is on, and its name; of those after the last a token is drawn."""
        for name, stepped in self._given(logits):
            yield name, (logits := stepped)
        if not self._config.is_greedy:
            for name, step, value in shaping(self._config, self._chance_of_this_token):
                yield name, (logits := step(logits, value))

    def _given(self, logits: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The steps that know of this text, or of single tokens."""
        if self._bias is not None:
            yield "bias", (logits := self._bias.apply(logits))
        if self._penalties is not None:
            yield "penalties", (logits := self._penalties.apply(logits))
        if self._matcher is not None:
            yield "grammar", logits.masked_fill(~torch.tensor(self._matcher.allowed()), -math.inf)

    def _draw(self, logits: Tensor) -> int:
        _check(logits.numpy().max())
        left: NDArray[np.int64] | None = None
        for name, step, value in shaping(self._config, self._chance_of_this_token):
            logits = step(logits, value)
            if left is None and name in _RULES_OUT_MOST:
                left = np.flatnonzero(logits.numpy() > -math.inf)
                logits = logits[torch.from_numpy(left)]
        drawn = draw(logits, self._generator)
        return drawn if left is None else int(left[drawn])

    def _chance_of_this_token(self) -> float:
        """A random number below 1, the same until the token is drawn: looking at steps changes nothing."""
        if self._chance is None:
            self._chance = float(torch.rand(1, generator=self._generator, dtype=torch.float64))
        return self._chance


def shape(logits: Tensor, config: SamplingConfig) -> Tensor:
    """The scores after the steps of `config.samplers`, in their order."""
    for _, step, value in shaping(config):
        logits = step(logits, value)
    return logits


def shaping(
    config: SamplingConfig, chance: Callable[[], float] = lambda: 0.0
) -> Iterator[tuple[str, Step, float]]:
    """Each of the steps of `config.samplers` that is on, and what it is asked, in their order.

    Args:
        config: of the text.
        chance: a random number of the token, for xtc.
    """

    def exclude(logits: Tensor, probability: float) -> Tensor:
        return exclude_top(logits, config.xtc_threshold) if chance() < probability else logits

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


def _heat(logits: Tensor, temperature: float) -> Tensor:
    return (logits - logits.max()) / temperature  # the best is 0: nothing overflows


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Only the k best, and those as good as the last of them; 0 keeps all."""
    if not 0 < k < len(logits):
        return logits
    return _keep_from(logits, np.partition(logits.numpy(), -k)[-k])


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


def keep_typical_p(logits: Tensor, p: float) -> Tensor:
    """Only those that together have probability p, nearest first to the entropy in their surprise
    (2202.00666), at least one; 1 keeps all."""
    if p >= 1:
        return logits
    alive = (logits > -math.inf).nonzero()[:, 0]
    logprobs = logits[alive].double().log_softmax(0)
    distance = (logprobs + torch.special.entr(logprobs.exp()).sum()).abs()
    nearest, order = distance.sort()
    reached = logprobs[order].exp().cumsum(0)
    last = min(int((reached < p).sum()), len(reached) - 1)
    return logits.index_fill(0, alive[distance > nearest[last]], -math.inf)


def keep_top_n_sigma(logits: Tensor, n: float) -> Tensor:
    """Only those whose scores are at most n standard deviations below the best (2411.07641); 0 keeps all."""
    if n <= 0:
        return logits
    alive = logits[logits > -math.inf].double()
    return _keep_from(logits, (alive.max() - n * alive.std(correction=0)).to(logits.dtype))


def exclude_top(logits: Tensor, threshold: float) -> Tensor:
    """Of those with at least this probability only the least likely; and all others.

    Source: "exclude top choices", oobabooga/text-generation-webui#6335.
    """
    probabilities = logits.double().softmax(0)
    top = probabilities >= threshold
    if not top.any():
        return logits
    return logits.masked_fill(logits > logits[top].min(), -math.inf)


def _keep_from(logits: Tensor, least: float | Tensor) -> Tensor:
    return logits.masked_fill(logits < least, -math.inf)


def _best(logits: Tensor) -> int:
    scores = logits.numpy()
    token = int(scores.argmax())  # of equal ones the first, as in torch, and in a tenth of its time
    _check(scores[token])
    return token


def draw(logits: Tensor, generator: torch.Generator) -> int:
    """One token, by the inverse of the cumulative distribution.

    One random number a token, whatever the vocabulary: scores that differ in their last bits, as on another
    machine, nearly always give the same token.

    Args:
        logits: (C,) numbers, not all of them -inf.
        generator: gives the random number.
    """
    scores = logits.numpy()
    weights = np.exp(scores - scores.max())
    starts = np.arange(0, len(weights), _BLOCK)  # two short searches in the place of a long sum
    blocks = np.add.reduceat(weights, starts, dtype=np.float64).cumsum()
    chance = float(torch.rand(1, generator=generator, dtype=torch.float64)) * blocks[-1]  # below the sum
    block = int(np.searchsorted(blocks, chance, side="right"))
    within = weights[starts[block] : starts[block] + _BLOCK].cumsum(dtype=np.float64)
    rest = min(chance - (blocks[block - 1] if block else 0.0), np.nextafter(within[-1], 0.0))
    return int(starts[block] + np.searchsorted(within, rest, side="right"))


def _check(value: float) -> None:
    if not math.isfinite(value):
        raise DataError(
            f"the model's scores are not finite (found {float(value)})",
            hint="the weights are damaged, or overflow in float16: llmkit doctor MODEL, --dtype float32",
        )


def score(logits: Tensor, token: int, count: int) -> tuple[Scored, tuple[Scored, ...]]:
    """The log probability that the model itself gives a token, and the `count` best.

    logits: (V,) as the model scored them.
    """
    logprobs = logits.log_softmax(0)
    best = logprobs.topk(min(count, len(logprobs)))
    top = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return Scored(token, float(logprobs[token])), tuple(Scored(*one) for one in top)


def uncertainty(logits: Tensor, token: int) -> tuple[float, int]:
    """How open the choice was to the model itself: the entropy in bits, and the place of a token, best is 1.

    logits: (V,) as the model scored them.
    """
    entropy = torch.special.entr(logits.double().softmax(0)).sum() / math.log(2)
    return float(entropy), 1 + int((logits > logits[token]).sum())


def scored(drawn: Drawn, logits: Tensor, count: int) -> Drawn:
    """A token with what the model thinks of it, and of `count` others. logits: (V,)."""
    token, best = score(logits, drawn.id, max(count, 2))
    entropy, rank = uncertainty(logits, drawn.id)
    first, *second = (math.exp(one.logprob) for one in best[:2])
    margin = first - sum(second)
    return replace(drawn, score=token, top=best[:count], entropy_bits=entropy, rank=rank, margin=margin)
