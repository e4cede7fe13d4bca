"""Every substring of some words that occurs twice or more: the pieces that a unigram model starts from.

Words stand one after another in one array of characters. The substrings of length n get numbers from those of
length n - 1 and one more character, so that each is found by sorting whole numbers and none is ever built as
text. A substring is only followed further where both its halves still repeat.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
NONE = -1


@dataclass(frozen=True)
class Words:
    """Distinct words, laid end to end. N words, P characters."""

    characters: NDArray[np.uint32]  # (P,) code points
    starts: Ints  # (N + 1,) where each word begins; the last is P
    counts: Ints  # (N,) how often each occurs

    @classmethod
    def of(cls, words: Sequence[str], counts: Sequence[int]) -> "Words":
        """Lay out words."""
        characters = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), np.uint32)
        starts = np.concatenate([[0], np.cumsum([len(word) for word in words], dtype=np.int64)])
        return cls(characters, starts.astype(np.int64), np.asarray(counts, np.int64))

    @property
    def owner(self) -> Ints:
        """(P,) the word that each character belongs to."""
        return np.repeat(np.arange(len(self.counts)), np.diff(self.starts))

    @property
    def room(self) -> Ints:
        """(P,) characters from here to the end of the word."""
        owner = self.owner
        return self.starts[owner + 1] - np.arange(len(owner))

    def text(self, start: int, length: int) -> str:
        """A stretch of characters."""
        return self.characters[start : start + length].tobytes().decode("utf-32-le", "surrogatepass")


@dataclass(frozen=True)
class Substrings:
    """K substrings, the shorter first, those of one length in the order of their characters."""

    position: Ints  # (K,) where one occurrence begins
    length: Ints  # (K,)
    count: Ints  # (K,)
    table: list[NDArray[np.int32]]
    """For each length from 1: (P,) the substring of that length that begins here, or NONE."""

    def __len__(self) -> int:
        return len(self.position)


def repeated_substrings(words: Words, longest: int) -> Substrings:
    """All single characters, and the substrings up to `longest` characters that occur twice or more."""
    weights, room = words.counts[words.owner], words.room
    alphabet, letter = np.unique(words.characters, return_inverse=True)
    name = letter.astype(np.int64)  # (P,) number of the substring of the current length
    positions: list[Ints] = []
    lengths: list[Ints] = []
    counts: list[Ints] = []
    table: list[NDArray[np.int32]] = []
    here = np.arange(len(name))  # positions where a substring of the current length is alive
    total = 0
    for length in range(1, longest + 1):
        if length > 1:
            alive = name != NONE
            here = here[room[here] >= length]
            here = here[alive[here] & alive[here + 1]]
            keys = name[here] * len(alphabet) + letter[here + length - 1]
        else:
            keys = name
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        count = np.bincount(inverse, weights=weights[here], minlength=len(first)).astype(np.int64)
        keep = count >= (1 if length == 1 else 2)
        rank = np.where(keep, np.cumsum(keep) - 1, NONE)  # numbers among those that stay
        name = np.full(len(letter), NONE, np.int64)
        name[here] = rank[inverse]
        positions.append(here[first[keep]])
        counts.append(count[keep])
        lengths.append(np.full(int(keep.sum()), length, np.int64))
        table.append(np.where(name != NONE, name + total, NONE).astype(np.int32))
        total += int(keep.sum())
        here = here[name[here] != NONE]
        if not len(here):
            break
    return Substrings(np.concatenate(positions), np.concatenate(lengths), np.concatenate(counts), table)
