"""DRY, "don't repeat yourself": a token that would go on with a repetition costs more the longer that is.

Where the text's last n tokens stand further up too, the token behind them there would make the repetition
longer. For n of `dry_allowed_length` or more its score is lowered by
dry_multiplier * dry_base ** (n - dry_allowed_length), by that for the longest n.
Sources: oobabooga/text-generation-webui#5677; what breaks a repetition is as in ggml-org/llama.cpp#9702.
Shapes: V vocab_size, N tokens so far.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.breaks import Breaks
from llmkit.engine.config import SamplingConfig

_MOST = 1e30
"""Taken off at most: a token that alone is possible can still be drawn."""


class Dry:
    """The tokens that one request has read and written, and how far each end of them is a repetition."""

    def __init__(self, config: SamplingConfig, prompt: Sequence[int], breaks: Breaks | None = None) -> None:
        """
        Args:
            config: with DRY on.
            prompt: what stands before the text: it is repeated too.
            breaks: over these no repetition goes.
        """
        self._config = config
        self._breaks = breaks
        last = config.dry_penalty_last_n
        tokens = list(prompt) if last < 0 else list(prompt[-last:])
        self._tail = b"" if breaks is None else breaks.tail(tokens)
        self._count = len(tokens)
        self._tokens = np.array(tokens, np.int64)
        longest = self._count if breaks is None else breaks.after_last(tokens)
        self._lengths = np.minimum(repeated(tokens), longest)
        """At each place how many of the tokens before it are the text's last ones too."""

    def apply(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """logits: (V,). Returns (V,), the given ones unchanged."""
        config = self._config
        tokens, lengths = self._tokens[: self._count], self._lengths[: self._count]
        if 0 <= config.dry_penalty_last_n < self._count:
            tokens, lengths = (all_of[-config.dry_penalty_last_n :] for all_of in (tokens, lengths))
            lengths = np.minimum(lengths, np.arange(len(lengths)))  # what stands before them is not looked at
        places = np.flatnonzero(lengths >= config.dry_allowed_length)
        if not len(places):
            return logits
        next_tokens, which = np.unique(tokens[places], return_inverse=True)
        longest = np.zeros(len(next_tokens), np.int64)
        np.maximum.at(longest, which, lengths[places])
        with np.errstate(over="ignore"):
            growth = np.float64(config.dry_base) ** (longest - config.dry_allowed_length)
            cost = np.minimum(config.dry_multiplier * growth, _MOST)
        if self._breaks is not None:
            cost[[self._breaks.within(token) for token in next_tokens.tolist()]] = 0
        logits = logits.copy()
        logits[next_tokens] -= cost.astype(np.float32)
        return logits

    def add(self, token_id: int) -> None:
        """Go on with a token that was drawn."""
        count = self._count
        if count == len(self._tokens):
            more = np.zeros(count + 64, np.int64)
            self._tokens, self._lengths = (np.append(held, more) for held in (self._tokens, self._lengths))
        tokens, lengths = self._tokens[:count], self._lengths[:count]
        if self._breaks is not None and self._breaks.end_in(token_id, self._tail):
            lengths = np.zeros_like(lengths)
        else:
            lengths = np.where(tokens == token_id, lengths + 1, 0)
        self._tokens[count] = token_id
        self._lengths[1 : count + 1] = lengths
        self._count += 1
        if self._breaks is not None and self._breaks.reach:
            self._tail = (self._tail + self._breaks.spell(token_id))[-self._breaks.reach :]


def repeated(tokens: Sequence[int]) -> NDArray[np.int64]:
    """At each place how many of the tokens before it are the last tokens of all, in their order.

    That is the Z-function (Gusfield 1997) of the tokens backwards, in linear time; where it is 0, which is
    nearly everywhere, nothing is done.
    """
    back, count = tokens[::-1], len(tokens)
    found = [0] * count
    begin = end = 0  # the stretch that goes furthest back of those that equal the last tokens
    for place in (np.flatnonzero(np.array(back[1:]) == back[0]) + 1).tolist() if tokens else ():
        length = min(found[place - begin], end - place) if place < end else 0
        while place + length < count and back[place + length] == back[length]:
            length += 1
        found[place] = length
        if place + length > end:
            begin, end = place, place + length
    return np.array([0, *found[:0:-1]], np.int64)[:count]
