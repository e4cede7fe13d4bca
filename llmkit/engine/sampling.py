"""From scores to a token: bias, penalties, DRY, min_tokens, grammar, the steps of `shaping`, adaptive-p or
mirostat, and one random number; xtc takes one more.

What is ruled out is -inf. No step looks at what was ruled out before it, so a draw goes on with the tokens
that are left, a few of thousands. Scores that are given stay as they are.
Shapes: V vocab_size, C candidates that are left.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.adaptive import Adaptive
from llmkit.engine.bias import Bias
from llmkit.engine.breaks import Breaks
from llmkit.engine.config import SamplingConfig
from llmkit.engine.dry import Dry
from llmkit.engine.grammar import Matcher
from llmkit.engine.min_tokens import MinTokens
from llmkit.engine.mirostat import Mirostat
from llmkit.engine.penalties import Penalties
from llmkit.engine.request import Drawn, Request, Scored
from llmkit.engine.seeds import Chances
from llmkit.engine.shaping import Scores, shaping
from llmkit.engine.softmax import Softmax, best_of, finite

_RULES_OUT_MOST = frozenset({"top_n_sigma", "top_k", "top_p", "min_p", "typical_p"})
_BLOCK = 256


class Sampler:
    """Draws the tokens of one text."""

    def __init__(
        self,
        config: SamplingConfig,
        prompt: Sequence[int],
        vocab_size: int,
        matcher: Matcher | None = None,
        breaks: Breaks | None = None,
        min_tokens: MinTokens | None = None,
    ) -> None:
        self._config = config
        self._bias = Bias(config.logit_bias) if config.logit_bias else None
        self._penalties = Penalties(config, prompt, vocab_size) if config.has_penalties else None
        self._dry = Dry(config, prompt, breaks) if config.has_dry else None
        self._min_tokens = min_tokens
        self._matcher = matcher
        self._steering = _steering(config, vocab_size)
        self._chances = Chances(config.seed)
        self._chance: float | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the text can only end here, by its grammar."""
        return self._matcher is not None and self._matcher.is_complete

    def draw(self, logits: Scores) -> int:
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
        if self._dry is not None:
            self._dry.add(token)
        if self._min_tokens is not None:
            self._min_tokens.add()
        if self._matcher is not None:
            self._matcher.consume(token)
        return token

    def steps(self, logits: Scores) -> Iterator[tuple[str, Scores]]:
        """Scores (V,) after each step that is on, and its name; of those after the last a token is drawn."""
        for name, stepped in self._given(logits):
            yield name, (logits := stepped)
        if not self._config.is_greedy:
            for name, step, value in shaping(self._config, self._chance_of_this_token):
                yield name, (logits := step(logits, value))
        if self._steering is not None:
            name, steering = self._steering
            yield name, steering.apply(logits)

    def _given(self, logits: Scores) -> Iterator[tuple[str, Scores]]:
        """The steps that know of this text, or of single tokens."""
        if self._bias is not None:
            yield "bias", (logits := self._bias.apply(logits))
        if self._penalties is not None:
            yield "penalties", (logits := self._penalties.apply(logits))
        if self._dry is not None:
            yield "dry", (logits := self._dry.apply(logits))
        if self._min_tokens is not None:
            yield "min_tokens", (logits := self._min_tokens.apply(logits))
        if self._matcher is not None:
            yield "grammar", np.where(self._matcher.allowed(), logits, np.float32(-math.inf))

    def _draw(self, logits: Scores) -> int:
        finite(float(logits.max()))
        left: NDArray[np.int64] | None = None
        for name, step, value in shaping(self._config, self._chance_of_this_token):
            logits = step(logits, value)
            if left is None and name in _RULES_OUT_MOST:
                left = np.flatnonzero(logits > -math.inf)
                logits = logits[left]
        if self._steering is None:
            drawn = draw(logits, self._chances.next())
        else:
            _, steering = self._steering
            drawn = draw(steering.apply(logits), self._chances.next())
            steering.add(drawn)
        return drawn if left is None else int(left[drawn])

    def _chance_of_this_token(self) -> float:
        """A random number below 1, the same until the token is drawn: looking at steps changes nothing."""
        if self._chance is None:
            self._chance = self._chances.next()
        return self._chance


def _steering(config: SamplingConfig, vocab_size: int) -> tuple[str, Adaptive | Mirostat] | None:
    """The step that goes by what has been drawn, if one is on, and its name."""
    if config.is_adaptive:
        return "adaptive_p", Adaptive(config)
    return ("mirostat", Mirostat(config, vocab_size)) if config.has_mirostat else None


def sampler_of(request: Request, vocab_size: int, ends: frozenset[int]) -> Sampler:
    """What draws the tokens of a request.

    Args:
        request: what to write.
        vocab_size: of the model.
        ends: ids that end the text.
    """
    matcher = None if request.grammar is None else request.grammar.start(ends)
    min_tokens = MinTokens(request.min_tokens, ends) if request.min_tokens else None
    return Sampler(request.sampling, request.prompt, vocab_size, matcher, request.breaks, min_tokens)


def _best(logits: Scores) -> int:
    token = int(logits.argmax())  # of equal ones the first
    finite(float(logits[token]))
    return token


def draw(logits: Scores, chance: float) -> int:
    """One token, by the inverse of the cumulative distribution.

    One random number a token, whatever the vocabulary: scores that differ in their last bits, as on another
    machine, nearly always give the same token.

    Args:
        logits: (C,) numbers, not all of them -inf.
        chance: a random number from 0 to 1, which itself is never reached.
    """
    weights = np.exp(logits - logits.max())
    starts = np.arange(0, len(weights), _BLOCK)  # two short searches in the place of a long sum
    blocks = np.add.reduceat(weights, starts, dtype=np.float64).cumsum()
    place = chance * blocks[-1]  # below the sum
    block = int(np.searchsorted(blocks, place, side="right"))
    within = weights[starts[block] : starts[block] + _BLOCK].cumsum(dtype=np.float64)
    rest = min(place - (blocks[block - 1] if block else 0.0), np.nextafter(within[-1], 0.0))
    return int(starts[block] + np.searchsorted(within, rest, side="right"))


def told(drawn: Drawn, logits: Scores, request: Request) -> Drawn:
    """A token with what its request asks to know of its place.

    logits: (V,) as the model scored them.

    Raises:
        DataError: a score is not a number.
    """
    if request.logits_of:
        asked = logits[list(request.logits_of)]
        drawn = replace(drawn, logits=tuple(finite(one) for one in asked.tolist()))
    count = request.sampling.logprobs
    return drawn if count is None else scored(drawn, logits, count)


def scored(drawn: Drawn, logits: Scores, count: int) -> Drawn:
    """A token with what the model itself thinks of it, and of the `count` best.

    logits: (V,) as the model scored them.

    Raises:
        DataError: a score is not a number.
    """
    softmax = Softmax(logits)
    best = [Scored(one, softmax.logprob(one)) for one in best_of(logits, max(count, 2))]
    first, *second = (math.exp(one.logprob) for one in best[:2])
    return replace(
        drawn,
        score=Scored(drawn.id, softmax.logprob(drawn.id)),
        top=tuple(best[:count]),
        entropy_bits=softmax.entropy_bits,
        rank=1 + int(np.count_nonzero(logits > logits[drawn.id])),
        margin=first - sum(second),
    )
