"""Words of a text as numpy arrays: hashes, lengths and what they are, one entry a word.

A table remembers each chunk between spaces that it has split, with the facts about its words, so a text
costs one split at its spaces and one dictionary look-up a chunk. What it remembers changes the speed only:
a word's facts are the word's alone.
"""

from array import array
from dataclasses import dataclass
from typing import Final
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from llmkit.text.english.words import split_chunk
from llmkit.text.punctuation import SYMBOLS, TERMINAL

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher's, 2112.11446: the first eight bits of a word's facts, in this order."""
MOST_CHUNKS = 1 << 18  # about 50 MB; a table that is full starts afresh


class Fact:
    """What a word is: bits, plain numbers because every new word asks."""

    STOP: Final = 0xFF
    SYMBOL: Final = 1 << 8  # punctuation and signs only
    ALPHABETIC: Final = 1 << 9  # has a letter
    ENDS_SENTENCE: Final = 1 << 10
    PUNCTUATION: Final = 1 << 11  # Unicode punctuation only


@dataclass(frozen=True)
class Words:
    """The words of one text, punctuation marks among them: arrays of one length.

    hashes: u64, equal for equal words. lengths: characters. facts: bits of Fact.
    """

    hashes: NDArray[np.uint64]
    lengths: NDArray[np.int64]
    facts: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.hashes)

    def count(self, fact: int) -> int:
        """How many words have a fact."""
        return int(np.count_nonzero(self.facts & fact))


class WordFacts(dict[str, tuple[int, int]]):
    """Hash and facts of the words seen so far."""

    def __missing__(self, word: str) -> tuple[int, int]:
        found = self[word] = hash_bytes(word.encode(errors="surrogatepass")), facts_of(word)
        return found


class WordTable(dict[str, int]):
    """The chunks seen so far: which row of the arrays each has."""

    def __init__(self) -> None:
        super().__init__()
        self._forget()

    def _forget(self) -> None:
        self.clear()
        self._words = WordFacts()
        self._starts, self._counts = array("q"), array("q")
        self._hashes, self._lengths, self._facts = array("Q"), array("q"), array("H")

    def __missing__(self, chunk: str) -> int:
        words = split_chunk(chunk)
        row = self[chunk] = len(self._starts)
        self._starts.append(len(self._hashes))
        self._counts.append(len(words))
        for word in words:
            hashed, facts = self._words[word]
            self._hashes.append(hashed)
            self._lengths.append(len(word))
            self._facts.append(facts)
        return row

    def _rows(self, text: str) -> NDArray[np.intp]:
        """The row of each chunk of a text, in order."""
        if len(self) > MOST_CHUNKS:
            self._forget()
        chunks = text.split()
        return np.fromiter(map(self.__getitem__, chunks), np.intp, len(chunks))

    def words(self, text: str) -> Words:
        """The words of a text, in order."""
        rows = self._rows(text)
        if not len(rows):
            return Words(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.uint16))
        counts = np.frombuffer(self._counts, np.int64)[rows]
        starts = np.frombuffer(self._starts, np.int64)[rows]
        ends = np.cumsum(counts)
        places = np.repeat(starts - ends + counts, counts)
        places += np.arange(ends[-1])
        return Words(
            np.frombuffer(self._hashes, np.uint64)[places],
            np.frombuffer(self._lengths, np.int64)[places],
            np.frombuffer(self._facts, np.uint16)[places],
        )

    def count_words(self, text: str) -> int:
        """How many words a text has."""
        rows = self._rows(text)
        return int(np.frombuffer(self._counts, np.int64)[rows].sum()) if len(rows) else 0


def hash_bytes(content: bytes) -> int:
    """64 bits of some bytes, never 0: eight bytes at a time are mixed in by the two halves of a product."""
    hashed = _mixed(len(content) ^ 0x2D358DCCAA6C78A5, 0x8BB84B93962EACC9)
    for start in range(0, len(content), 8):
        hashed = _mixed(hashed ^ int.from_bytes(content[start : start + 8], "little"), 0x9E3779B97F4A7C15)
    return _mixed(hashed ^ 0x4B33A62ED433D4A3, 0x4D5A2DA51DE1AA47) or 1


def _mixed(a: int, b: int) -> int:
    product = a * b
    return (product ^ product >> 64) & 0xFFFF_FFFF_FFFF_FFFF


def facts_of(word: str) -> int:
    """What a word is, as bits of Fact."""
    facts = 1 << STOP_WORDS.index(word) if word in STOP_WORDS else 0
    if word.isalpha() or any(map(str.isalpha, word)):
        return facts | Fact.ALPHABETIC
    if SYMBOLS.issuperset(word):
        facts |= Fact.SYMBOL
    if word in TERMINAL:
        facts |= Fact.ENDS_SENTENCE
    if all(category(character)[0] == "P" for character in word):
        facts |= Fact.PUNCTUATION
    return facts
