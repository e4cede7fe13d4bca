"""Equal things, known by 128-bit digests: those seen so far, and which one of each group is kept.

With 128 bits two different texts among a billion have one digest with a probability below 1e-20.
"""

import numpy as np
import xxhash
from numpy.typing import NDArray

from llmkit.text.shingles import Hashes

DIGEST = np.dtype([("high", "<u8"), ("low", "<u8")])
_NUMBERED = np.dtype([("high", "<u8"), ("low", "<u8"), ("number", "<u8")])
_RECENT = 1 << 14


def digest_of(content: bytes) -> tuple[int, int]:
    """The XXH3 digest of some bytes as two 64-bit numbers."""
    number = xxhash.xxh3_128_intdigest(content)
    return number >> 64, number & 0xFFFFFFFFFFFFFFFF


class Seen:
    """Digests put in one by one, each with a number, at 24 bytes each and up to 48 while it grows.

    The newest are in a dictionary; the others in sorted arrays that are merged when two are of a size, so
    that there are few of them and each digest is moved seldom.
    """

    def __init__(self) -> None:
        self._recent: dict[tuple[int, int], int] = {}
        self._sorted: list[NDArray[np.void]] = []

    def __len__(self) -> int:
        return len(self._recent) + sum(len(one) for one in self._sorted)

    @property
    def size_bytes(self) -> int:
        """What the digests take, the newest ones counted as Python has them."""
        return 250 * len(self._recent) + sum(one.nbytes for one in self._sorted)

    def add(self, digest: tuple[int, int], number: int) -> int | None:
        """Put a digest in under a number; the number it had already, or None where it is new."""
        found = self._recent.get(digest)
        for one in self._sorted:
            found = _number_in(one, digest) if found is None else found
        if found is None:
            self._recent[digest] = number
            if len(self._recent) >= _RECENT:
                self._settle()
        return found

    def _settle(self) -> None:
        rows = [(high, low, number) for (high, low), number in self._recent.items()]
        added = _in_order(np.array(rows, _NUMBERED))
        self._recent = {}
        while self._sorted and len(self._sorted[-1]) <= 2 * len(added):
            added = _in_order(np.concatenate([self._sorted.pop(), added]))
        self._sorted.append(added)


def first_of_groups(high: Hashes, low: Hashes, rank: NDArray[np.integer]) -> NDArray[np.int64]:
    """For each position that of the lowest rank with the same digest, itself where it is the one."""
    order = np.lexsort((rank, low, high))
    is_first = np.ones(len(order), bool)
    is_first[1:] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    first = order[is_first][np.cumsum(is_first) - 1]
    found = np.empty(len(order), np.int64)
    found[order] = first
    return found


def _in_order(digests: NDArray[np.void]) -> NDArray[np.void]:
    return digests[np.lexsort((digests["low"], digests["high"]))]


def _number_in(digests: NDArray[np.void], digest: tuple[int, int]) -> int | None:
    high, low = (np.uint64(number) for number in digest)
    column = digests["high"]
    place = int(np.searchsorted(column, high))
    while place < len(digests) and column[place] == high:
        if digests["low"][place] == low:
            return int(digests["number"][place])
        place += 1
    return None
