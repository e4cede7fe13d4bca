"""What has been seen before, among millions of digests, at 8 bytes each."""

import numpy as np
from numpy.typing import NDArray

_RECENT = 1 << 16


class SeenDigests:
    """A set of 64-bit digests: a small one of the latest, and sorted arrays that double in size."""

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._sorted: list[NDArray[np.uint64]] = []

    def __len__(self) -> int:
        """How many different ones have been added."""
        return len(self._recent) + sum(map(len, self._sorted))

    def add(self, digest: bytes) -> bool:
        """Remember one by its first 8 bytes; returns whether it was there already."""
        number = int.from_bytes(digest[:8], "little")
        if number in self._recent or any(_holds(one, number) for one in self._sorted):
            return True
        self._recent.add(number)
        if len(self._recent) >= _RECENT:
            latest = np.sort(np.fromiter(self._recent, np.uint64))
            while self._sorted and len(self._sorted[-1]) <= len(latest):
                latest = np.sort(np.concatenate([self._sorted.pop(), latest]))
            self._sorted.append(latest)
            self._recent.clear()
        return False


def _holds(numbers: NDArray[np.uint64], number: int) -> bool:
    place = int(np.searchsorted(numbers, np.uint64(number)))
    return place < len(numbers) and int(numbers[place]) == number
