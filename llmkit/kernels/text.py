"""Words of a text by a table of chunks, and n-grams of words: what the rules of `clean` spend their time on.

A chunk is what stands between white space. Chunks are told apart by 64 bits of hash; two of a million that
differ share one with a probability of 3e-8. N words, M = N - n + 1 grams of n.
"""

from ctypes import Structure, byref, c_int64, c_void_p

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.library import finished, library


class ChunkTableStruct(Structure):
    """ChunkTable of native/text.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("keys", "rows")),
        *((name, c_int64) for name in ("slots", "num_rows", "most_rows")),
        *((name, c_void_p) for name in ("starts", "counts", "hashes", "lengths", "facts")),
    ]


class ChunkIndex:
    """Numbers for the chunks seen so far, given out in the order in which they are first met."""

    def __init__(self, slots: int) -> None:
        """slots: a power of two; half of them are used at most."""
        self.struct = ChunkTableStruct(slots=slots, num_rows=0, most_rows=slots // 2)
        self._keys, self._rows = np.zeros(slots, np.uint64), np.empty(slots, np.int32)
        self.struct.keys, self.struct.rows = self._keys.ctypes.data, self._rows.ctypes.data
        self._found = np.empty(0, np.int32)
        self._fresh = np.empty(0, np.int64)
        self._places = (0, 0)

    def find(self, text: bytes) -> tuple[int, list[int]] | None:
        """Number the chunks of a text in UTF-8; the numbers stay here for `words` of kernels.

        Returns:
            How many chunks, and of those never met before offset and size, one after another. None where the
            table is full: chunks of this text are then in it that nobody heard of; see `grown`.
        """
        if len(text) >= len(self._found):
            self._found = np.empty(2 * len(text) + 1, np.int32)
            self._fresh = np.empty(2 * len(text) + 2, np.int64)
            self._places = self._found.ctypes.data, self._fresh.ctypes.data
        fresh = c_int64()
        count = library().llmkit_text_chunks(byref(self.struct), text, len(text), *self._places, byref(fresh))
        if count < 0:
            return None
        return count, self._fresh[: 2 * fresh.value].tolist() if fresh.value else []

    def grown(self, num_rows: int) -> "ChunkIndex":
        """A table twice as large with the chunks numbered below `num_rows`, under the same numbers."""
        larger = ChunkIndex(2 * len(self._keys))
        stays = (self._keys != 0) & (self._rows < num_rows)
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
        larger.struct.num_rows = num_rows
        return larger

    @property
    def slots(self) -> int:
        """Its size; half of them are used at most."""
        return len(self._keys)

    @property
    def found_address(self) -> int:
        """Where the numbers of the last text's chunks are."""
        return self._places[0]


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
