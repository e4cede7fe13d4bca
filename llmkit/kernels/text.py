"""Words of a text by a table of chunks, and n-grams of words: what the rules of `clean` spend their time on.

A chunk is what stands between white space. Chunks are told apart by 64 bits of hash; two of a million that
differ share one with a probability of 3e-8. N words, M = N - n + 1 grams of n.
"""

from collections.abc import Sequence
from ctypes import Structure, addressof, byref, c_int32, c_int64, c_void_p
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.library import finished, library

Scalar = TypeVar("Scalar", bound=np.generic)


class SplitRulesStruct(Structure):
    """SplitRules of native/text.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("classes", "keys", "rows")),
        ("slots", c_int64),
        *((name, c_void_p) for name in ("parts", "units", "stops")),
        *((name, c_int32) for name in ("num_units", "num_stops")),
    ]


class ChunkTableStruct(Structure):
    """ChunkTable of native/text.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("keys", "rows")),
        *((name, c_int64) for name in ("slots", "num_rows", "most_rows")),
        *((name, c_void_p) for name in ("starts", "counts")),
        ("num_words", c_int64),
        *((name, c_void_p) for name in ("hashes", "lengths", "facts", "rules")),
    ]


class SplitRules:
    """How the native library splits chunks; see llmkit/text/english/native.py.

    Args:
        classes: bits for each code point, 0 where not known yet: who fills them in later does so in place.
        specials: chunks with a split of their own: how many code points each of their words has.
        units: what is split off behind a number.
        stops: the stop words.
    """

    def __init__(
        self,
        classes: NDArray[np.uint16],
        specials: dict[str, tuple[int, ...]],
        units: Sequence[str],
        stops: Sequence[str],
    ) -> None:
        self.classes = classes
        self._index = ChunkIndex(1 << (2 * len(specials)).bit_length())
        self._index.find(" ".join(specials).encode())
        self._parts = np.zeros((len(specials), 4), np.uint8)
        for row, lengths in enumerate(specials.values()):
            self._parts[row, : len(lengths)] = lengths
        self._units, self._stops = (
            np.array([hash_word(word.encode()) for word in words], np.uint64) for words in (units, stops)
        )
        self.struct = SplitRulesStruct(
            slots=self._index.slots, num_units=len(units), num_stops=len(stops), classes=classes.ctypes.data
        )
        self.struct.keys, self.struct.rows = self._index.struct.keys, self._index.struct.rows
        self.struct.parts, self.struct.units = self._parts.ctypes.data, self._units.ctypes.data
        self.struct.stops = self._stops.ctypes.data


class ChunkIndex:
    """The chunks seen so far, numbered in the order in which they are first met, and their words."""

    def __init__(self, slots: int, rules: SplitRules | None = None) -> None:
        """slots: a power of two; half of them are used at most. rules: None splits no chunk."""
        self.struct = ChunkTableStruct(slots=slots, num_rows=0, most_rows=slots // 2, num_words=0)
        self._keys, self._rows = np.zeros(slots, np.uint64), np.empty(slots, np.int32)
        self.starts, self.counts = (np.empty(slots // 2, np.int64) for _ in range(2))
        self._rules = rules
        if rules is not None:
            self.struct.rules = addressof(rules.struct)
        for name, array in (("keys", self._keys), ("rows", self._rows)):
            setattr(self.struct, name, array.ctypes.data)
        self.struct.starts, self.struct.counts = self.starts.ctypes.data, self.counts.ctypes.data
        self._take_words(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.uint16))
        self._found = np.empty(0, np.int32)
        self._left = np.empty(0, np.int64)
        self._places = (0, 0)

    def _take_words(
        self, hashes: NDArray[np.uint64], lengths: NDArray[np.int64], facts: NDArray[np.uint16]
    ) -> None:
        self.hashes, self.lengths, self.facts = hashes, lengths, facts
        self.struct.hashes, self.struct.lengths = hashes.ctypes.data, lengths.ctypes.data
        self.struct.facts = facts.ctypes.data

    def _make_room(self, num_words: int) -> None:
        """For so many more words."""
        used: int = self.struct.num_words
        if used + num_words > len(self.hashes):
            room = max(2 * len(self.hashes), used + num_words, 1 << 12)
            self._take_words(
                _longer(self.hashes, room), _longer(self.lengths, room), _longer(self.facts, room)
            )

    def find(self, text: bytes) -> tuple[int, list[tuple[int, bytes]]] | None:
        """Number the chunks of a text in UTF-8, and split the new ones; numbers stay here for `WordBuffer`.

        Returns:
            How many chunks; and those that could not be split, each with its number: they have no words
            until `split` or `add` gives them some. None where the table is full: see `grown`.
        """
        if len(text) >= len(self._found):
            self._found = np.empty(2 * len(text) + 1, np.int32)
            self._left = np.empty(3 * len(text) + 3, np.int64)
            self._places = self._found.ctypes.data, self._left.ctypes.data
        self._make_room(len(text))
        left = c_int64()
        count = library().llmkit_text_chunks(byref(self.struct), text, len(text), *self._places, byref(left))
        if count < 0:
            return None
        waiting = self._left[: 3 * left.value].reshape(-1, 3).tolist() if left.value else []
        return count, [(row, text[start : start + size]) for row, start, size in waiting]

    def split(self, row: int, chunk: bytes) -> bool:
        """Split a chunk that `find` has left, now that its characters are known. False where it cannot."""
        self._make_room(len(chunk))
        done: bool = library().llmkit_text_split(byref(self.struct), row, chunk, len(chunk))
        return done

    def add(self, row: int, words: Sequence[tuple[int, int, int]]) -> None:
        """Give a chunk its words: hash, length and facts of each."""
        start: int = self.struct.num_words
        self._make_room(len(words))
        self.starts[row], self.counts[row] = start, len(words)
        for place, (hashed, length, facts) in enumerate(words, start):
            self.hashes[place], self.lengths[place], self.facts[place] = hashed, length, facts
        self.struct.num_words = start + len(words)

    def grown(self) -> "ChunkIndex":
        """A table twice as large with the same chunks under the same numbers."""
        num_rows = self.struct.num_rows
        larger = ChunkIndex(2 * len(self._keys), self._rules)
        stays = (self._keys != 0) & (self._rows < num_rows)  # a text that did not fit may have left some
        keys, rows = self._keys[stays], self._rows[stays]
        mask = np.uint64(len(larger._keys) - 1)
        slots = (keys & mask).astype(np.intp)
        while len(keys):  # each to its slot, or past those that are taken, as a look-up walks
            free = np.flatnonzero(larger._keys[slots] == 0)
            _, first = np.unique(slots[free], return_index=True)
            placed = free[first]
            larger._keys[slots[placed]], larger._rows[slots[placed]] = keys[placed], rows[placed]
            waits = np.ones(len(keys), bool)
            waits[placed] = False
            keys, rows = keys[waits], rows[waits]
            slots = (slots[waits] + 1) & int(mask)
        larger.starts[:num_rows], larger.counts[:num_rows] = self.starts[:num_rows], self.counts[:num_rows]
        larger.struct.num_rows, larger.struct.num_words = num_rows, self.struct.num_words
        larger._take_words(self.hashes, self.lengths, self.facts)
        return larger

    @property
    def slots(self) -> int:
        """Its size; half of them are used at most."""
        return len(self._keys)

    @property
    def num_chunks(self) -> int:
        """How many chunks it knows."""
        known: int = self.struct.num_rows
        return known

    @property
    def found_address(self) -> int:
        """Where the numbers of the last text's chunks are."""
        return self._places[0]


def hash_word(word: bytes) -> int:
    """`hash_bytes` of llmkit/text/word_table.py."""
    hashed: int = library().llmkit_text_hash(word, len(word))
    return hashed


def _longer(array: NDArray[Scalar], length: int) -> NDArray[Scalar]:
    longer = np.empty(length, array.dtype)
    longer[: len(array)] = array
    return longer


class WordBuffer:
    """Where the words of a text are put together before they are copied out."""

    def __init__(self) -> None:
        self._resize(1 << 12)

    def _resize(self, most: int) -> None:
        self.most = most
        self.hashes, self.lengths = np.empty(most, np.uint64), np.empty(most, np.int64)
        self.facts = np.empty(most, np.uint16)
        self._places = tuple(one.ctypes.data for one in (self.hashes, self.lengths, self.facts))

    def fill(self, index: ChunkIndex, count: int) -> int:
        """Put the words of the last text's `count` chunks here. Returns how many words."""
        call = library().llmkit_text_words
        total: int = call(byref(index.struct), index.found_address, count, self.most, *self._places)
        if total > self.most:
            self._resize(2 * total)
            total = call(byref(index.struct), index.found_address, count, self.most, *self._places)
        return total


def commonest_gram(hashes: NDArray[np.uint64], n: int) -> tuple[int, int]:
    """Of the commonest n-gram, the earliest of equals: how often it occurs, where first."""
    often, place = c_int64(), c_int64()
    finished(library().llmkit_text_commonest(hashes.ctypes.data, len(hashes), n, byref(often), byref(place)))
    return often.value, place.value


def repeated_grams(hashes: NDArray[np.uint64], ends: NDArray[np.int64], n: int) -> tuple[int, int]:
    """Characters inside n-grams that came before, each once, and of those met when reading on after each one.

    Args:
        hashes: of the words (N,). ends: running totals of their lengths from 0 (N + 1,).
    """
    covered, leaping = c_int64(), c_int64()
    finished(
        library().llmkit_text_repeated(
            *(hashes.ctypes.data, ends.ctypes.data, len(hashes), n, byref(covered), byref(leaping))
        )
    )
    return covered.value, leaping.value


def find_elements(text: bytes, *, characters: bool) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The chunks of a text in UTF-8, or its characters that are no white space.

    Returns:
        Hashes (N,), and the first byte of each and the one behind its last (N, 2).
    """
    most = len(text) if characters else len(text) // 2 + 1
    hashes, places = np.empty(most, np.uint64), np.empty((most, 2), np.int64)
    arguments = (characters, hashes.ctypes.data, places.ctypes.data)
    count = library().llmkit_text_elements(text, len(text), *arguments)
    return hashes[:count], places[:count]
