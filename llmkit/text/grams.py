"""N-grams of words: how much of a text is in grams that occur more than once.

A gram is its words' hashes, multiplied and added; two grams of one text that differ have the same number
about once in 10^12 documents of ten thousand words. N words, M = N - n + 1 grams.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels import text as native
from llmkit.kernels.library import available
from llmkit.text.word_table import Words

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
Mask = NDArray[np.bool_]


class Repeated(NamedTuple):
    """Where grams recur: occurrences after a first one, and all of what occurs twice."""

    later: Mask  # (M,)
    all: Mask  # (M,)


class Grams:
    """The n-grams of one text; each n is worked out once."""

    def __init__(self, words: Words, *, use_native: bool | None = None) -> None:
        """use_native: whether the native library does the counting; None: where there is one."""
        self.words = words
        self._native = available() if use_native is None else use_native
        self._codes: dict[int, NDArray[np.uint64]] = {1: words.hashes}
        self._most: dict[int, int] = {}
        self._repeated: dict[int, Repeated | None] = {}
        self._covered: dict[int, int] = {}
        self._leaping: dict[int, int] = {}
        self._ends = np.zeros(len(words) + 1, np.int64)
        np.cumsum(words.lengths, out=self._ends[1:])

    @property
    def num_letters(self) -> int:
        """The characters of all words, without what is between them."""
        return int(self._ends[-1])

    def count(self, n: int) -> int:
        """M: how many n-grams there are."""
        return max(len(self.words) - n + 1, 0)

    def codes(self, n: int) -> NDArray[np.uint64]:
        """A number for each gram, equal for equal ones. (M,)"""
        if n not in self._codes:
            if not self.count(n):
                return np.empty(0, np.uint64)
            shorter = self.codes(n - 1)
            self._codes[n] = shorter[:-1] * _MULTIPLIER + self.words.hashes[n - 1 :]
        return self._codes[n]

    def letters(self, n: int) -> NDArray[np.int64]:
        """Characters of each gram's words. (M,)"""
        if not self.count(n):
            return np.empty(0, np.int64)
        return self._ends[n:] - self._ends[:-n]

    def most_letters(self, n: int) -> int:
        """Characters of the longest gram's words."""
        letters = self.letters(n)
        return int(letters.max()) if len(letters) else 0

    def most_often(self, n: int) -> int:
        """How often the commonest gram occurs."""
        if n not in self._most and self._native:
            self._most[n] = native.commonest_gram(self.words.hashes, n)[0]
        elif n not in self._most:
            codes = self.codes(n)
            self._most[n] = int(_run_lengths(np.sort(codes)).max()) if len(codes) else 0
        return self._most[n]

    def commonest(self, n: int) -> tuple[int, int]:
        """Of the commonest gram, the earliest of equals: its words' characters, how often it occurs."""
        if not self.count(n):
            return 0, 0
        if self._native:
            often, place = native.commonest_gram(self.words.hashes, n)
            return int(self._ends[place + n] - self._ends[place]), often
        codes = self.codes(n)
        order = np.argsort(codes, kind="stable")
        lengths = _run_lengths(codes[order])
        firsts = order[np.cumsum(lengths) - lengths]
        most = lengths.max()
        return int(self.letters(n)[firsts[lengths == most].min()]), int(most)

    def repeated(self, n: int) -> Repeated | None:
        """Which grams recur; None when none does."""
        if n not in self._repeated:
            self._repeated[n] = self._find_repeated(n)
        return self._repeated[n]

    def _find_repeated(self, n: int) -> Repeated | None:
        codes = self.codes(n)
        ordered = np.sort(codes)
        if not (ordered[1:] == ordered[:-1]).any():
            return None
        order = np.argsort(codes, kind="stable")
        ordered = codes[order]
        same = ordered[1:] == ordered[:-1]
        later = np.zeros(len(codes), bool)
        later[order[1:][same]] = True
        either = later.copy()
        either[order[:-1][same]] = True
        return Repeated(later, either)

    def covered_later(self, n: int) -> int:
        """Characters of words inside a gram that came before: at least what `leaping` finds for n or more."""
        if n not in self._covered and self._native:
            self._covered[n], self._leaping[n] = native.repeated_grams(self.words.hashes, self._ends, n)
        elif n not in self._covered:
            found = self.repeated(n)
            self._covered[n] = 0 if found is None else self.letters_under(found.later, n)
        return self._covered[n]

    def letters_under(self, grams: Mask, n: int) -> int:
        """Characters of the words inside any of some n-grams, each word once."""
        return int(self.words.lengths[self.words_under(grams, n)].sum())

    def words_under(self, grams: Mask, n: int) -> Mask:
        """The words inside any of some n-grams. (N,)"""
        inside = np.zeros(len(self.words), bool)
        for offset in range(n):
            inside[offset : offset + len(grams)] |= grams
        return inside

    def leaping(self, n: int) -> int:
        """Characters of grams that came before, read from left to right and going on after each one found.

        A gram that begins inside one already counted is neither counted nor remembered.
        """
        if self._native:
            self.covered_later(n)
            return self._leaping[n]
        found = self.repeated(n)
        if found is None:
            return 0
        places = np.flatnonzero(found.all)
        codes, letters = self.codes(n)[places].tolist(), self.letters(n)[places].tolist()
        seen: set[int] = set()
        total = free = 0
        for place, code, characters in zip(places.tolist(), codes, letters, strict=True):
            if place < free:
                continue
            if code in seen:
                total += characters
                free = place + n
            else:
                seen.add(code)
        return total


def _run_lengths(ordered: NDArray[np.uint64]) -> NDArray[np.intp]:
    """How often each value of a sorted array occurs."""
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1], [True])))
    return np.diff(starts)
