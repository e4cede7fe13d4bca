"""Best-fit decreasing: each item into the fullest bin that has room for it, the largest items first.

Items of one size are placed together, so the time goes by the number of sizes, not of items: a million
documents take a fraction of a second. The bins are those that the textbook's loop over items makes.
Source: Ding et al. 2024, arXiv:2404.10830 (best-fit packing of documents).
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]


def best_fit(sizes: Int64s, capacity: int) -> tuple[Int64s, int]:
    """Pack items into bins.

    Args:
        sizes: (N,) each from 1 to `capacity`.
        capacity: of every bin.

    Returns:
        (N,) the bin of each item, and the number of bins.
    """
    bin_of = np.empty(len(sizes), np.int64)
    items = np.argsort(-sizes, kind="stable")  # the largest first; of equals the earlier
    open_bins = _OpenBins(min(capacity, int(sizes.sum())))  # room for all is room enough for one bin
    done = 0
    different, number = np.unique(sizes, return_counts=True)
    for size, left in zip(different[::-1].tolist(), number[::-1].tolist(), strict=True):
        while left:
            room, bins, each = open_bins.take(size, left)
            placed = min(left, len(bins) * each)
            bin_of[items[done : done + placed]] = np.repeat(bins, each)[:placed]
            full, rest = divmod(placed, each)
            open_bins.put_back(room - each * size, bins[:full])
            open_bins.put_back(room - rest * size, bins[full:])
            done, left = done + placed, left - placed
    return bin_of, open_bins.count


class _OpenBins:
    """Bins by the room that they have left."""

    def __init__(self, capacity: int) -> None:
        self.count = 0
        self._capacity = capacity
        self._by_room: dict[int, deque[Int64s]] = {}
        self._rooms = 0  # bit r: some bin has r left

    def take(self, size: int, items: int) -> tuple[int, Int64s, int]:
        """Bins for some items of one size: the least room that holds one; new ones where there is none.

        Returns:
            The room of each, the bins (no more than needed), and how many items one of them holds. The first
            item leaves its bin as the one with the least room that may hold the second, so a bin is filled
            before the next is begun.
        """
        above = self._rooms >> size
        room = size + (above & -above).bit_length() - 1 if above else self._capacity
        each = room // size
        needed = -(-items // each)
        if not above:
            self.count += needed
            return room, np.arange(self.count - needed, self.count), each
        waiting = self._by_room[room]
        bins = waiting.popleft()
        if len(bins) > needed:
            waiting.appendleft(bins[needed:])
            bins = bins[:needed]
        if not waiting:
            self._rooms &= ~(1 << room)
        return room, bins, each

    def put_back(self, room: int, bins: Int64s) -> None:
        """Bins that now have this much room."""
        if room and len(bins):
            self._by_room.setdefault(room, deque()).append(bins)
            self._rooms |= 1 << room
