"""Texts over which no repetition goes, by one tokenizer: a token in which one of them ends begins anew."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from llmkit.engine.config import SamplingConfig
from llmkit.tokens.tokenizer import Tokenizer

_FIRST_LOOK = 64
"""Tokens in which the last break is looked for at first: nearly always enough."""


class Breaks:
    """What breaks a repetition, whether one token has all of it or several."""

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        """texts: not empty, none of them."""
        self.spell = cache(tokenizer.token_bytes)
        self.reach = max(len(text.encode()) for text in texts) - 1
        """Bytes before a token that `end_in` looks at."""
        self._texts = [text.encode() for text in texts]
        self._whole: dict[int, bool] = {}

    def end_in(self, token: int, before: bytes) -> bool:
        """Whether one of the texts ends in a token. before: the last bytes that stand before it."""
        if self.within(token):
            return True
        own = self.spell(token)
        return any(text in before[1 - len(text) :] + own for text in self._texts if len(text) > 1)

    def within(self, token: int) -> bool:
        """Whether a token alone has all of one of the texts."""
        if (known := self._whole.get(token)) is None:
            own = self.spell(token)
            known = self._whole[token] = any(text in own for text in self._texts)
        return known

    def after_last(self, tokens: Sequence[int]) -> int:
        """How many of the tokens stand after the one in which a text ended last; all where none did."""
        count = _FIRST_LOOK
        while True:
            pieces = [self.spell(token) for token in tokens[-count:]]
            whole = b"".join(pieces)
            found = ((whole.rfind(text), len(text)) for text in self._texts)
            last = max(place + length if place >= 0 else 0 for place, length in found)
            if last > self.reach or count >= len(tokens):  # else one that begins before may end later
                break
            count *= 8
        ends = np.cumsum([len(piece) for piece in pieces])
        return len(pieces) - 1 - int(np.searchsorted(ends, last)) if last else len(pieces)

    def tail(self, tokens: Sequence[int]) -> bytes:
        """The last bytes of tokens: as many as `end_in` looks at, where there are so many."""
        tail = b""
        for token in reversed(tokens):
            if len(tail) >= self.reach:
                break
            tail = self.spell(token) + tail
        return tail[-self.reach :] if self.reach else b""


def breaks_of(sampling: SamplingConfig, tokenizer: Tokenizer | None) -> Breaks | None:
    """What breaks repetitions in a text; None: nothing does, or none are looked for."""
    if tokenizer is None or not sampling.has_breaks:
        return None
    return Breaks(tokenizer, sampling.dry_sequence_breakers)
