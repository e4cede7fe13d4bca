"""Guesses at the next tokens of a text, which the model verifies several at a time (2211.17192).

A guess is kept exactly where the token drawn from the model's own scores is the same: the text is, token by
token, what it would be without guesses, whether greedy or drawn by chance. Only the time differs.
"""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Protocol

from llmkit.engine.text import Text


class Proposer(Protocol):
    """Where guesses come from."""

    @property
    def count(self) -> int:
        """Most guesses at once for a text."""

    def propose(self, texts: Sequence[Text], most: Sequence[int]) -> list[list[int]]:
        """For each text at most so many tokens that may follow it."""

    def learn(self, text: Text, proposed: int, right: int) -> None:
        """How many of the last guesses were right."""

    def forget(self, text: Text) -> None:
        """A text is over."""


class PromptLookup:
    """What followed the last tokens when they stood in the text before (prompt lookup).

    Looks for the longest run of up to `longest` tokens. Where the text ends before there are `count` guesses,
    it is taken to repeat itself: what lies between the two places of the run is its period, and is guessed
    over and over. A text whose guesses are mostly wrong is left alone for a while, the longer the more often
    it happens.
    """

    def __init__(self, count: int = 8, longest: int = 4, shortest: int = 2) -> None:
        """
        Args:
            count: guesses at once.
            longest: tokens of a run.
            shortest: no run shorter than this is believed.
        """
        self.count = count
        self._lengths = range(longest, shortest - 1, -1)
        self._places: dict[int, _Places] = {}

    def propose(self, texts: Sequence[Text], most: Sequence[int]) -> list[list[int]]:
        """For each text at most so many tokens that may follow it."""
        return [self._propose(text, room) for text, room in zip(texts, most, strict=True)]

    def learn(self, text: Text, proposed: int, right: int) -> None:
        """How many of the last guesses were right."""
        places = self._places.get(text.number)
        if places is not None:
            places.learn(proposed, right)

    def forget(self, text: Text) -> None:
        """A text is over."""
        self._places.pop(text.number, None)

    def _propose(self, text: Text, most: int) -> list[int]:
        places = self._places.setdefault(text.number, _Places(self._lengths))
        places.read(text.tokens)
        if most < 1 or places.is_resting():
            return []
        begin = places.find(text.tokens)
        if begin is None:
            return []
        count = min(self.count, most)
        return list(islice(cycle(text.tokens[begin : begin + count]), count))


class _Places:
    """Where each run of tokens in a text was last followed by something."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = lengths
        self._after: dict[tuple[int, ...], int] = {}
        self._read = 0
        self._believed = 1.0
        """A running share of guesses that were right."""
        self._rest = 0
        self._next_rest = 8

    def read(self, tokens: Sequence[int]) -> None:
        """Note the runs that have something behind them now."""
        for end in range(max(1, self._read), len(tokens)):
            for length in self._lengths:
                if length <= end:
                    self._after[tuple(tokens[end - length : end])] = end
        self._read = len(tokens)

    def find(self, tokens: Sequence[int]) -> int | None:
        """Where what followed the longest known run at the end of a text begins."""
        for length in self._lengths:
            if len(tokens) >= length and (place := self._after.get(tuple(tokens[-length:]))) is not None:
                return place
        return None

    def learn(self, proposed: int, right: int) -> None:
        """Guesses cost a share of a pass each: below one in ten they are not worth it."""
        self._believed = 0.8 * self._believed + 0.2 * right / proposed
        if self._believed < 0.1:
            self._rest, self._next_rest, self._believed = self._next_rest, 2 * self._next_rest, 0.3

    def is_resting(self) -> bool:
        """Whether this text is left alone now; counts down."""
        self._rest = max(0, self._rest - 1)
        return self._rest > 0
