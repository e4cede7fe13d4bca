"""In which order rows are learnt: a seeded permutation of all rows for each epoch.

A position in it is one whole number, the rows consumed so far. So the order depends on the seed and the
number of rows alone: not on batch size, workers, the version of a library, or where a run was stopped.
"""

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


class RowOrder:
    """The endless sequence of row numbers for `rows` rows."""

    def __init__(self, rows: int, seed: int) -> None:
        self._rows = rows
        self._seed = seed
        self._epochs: dict[int, NDArray[np.int64]] = {}

    def take(self, cursor: int, count: int) -> NDArray[np.int64]:
        """The `count` rows after the first `cursor`, across epochs where need be."""
        parts = []
        while count > 0:
            epoch, start = divmod(cursor, self._rows)
            part = self._permutation(epoch)[start : start + count]
            parts.append(part)
            cursor, count = cursor + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._epochs:
            self._epochs = {kept: order for kept, order in self._epochs.items() if kept == epoch - 1}
            self._epochs[epoch] = permutation(self._rows, self._seed, epoch)
        return self._epochs[epoch]


def permutation(rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The row numbers sorted by a hash of (seed, epoch, row). (rows,)"""
    key = _mix_int(_mix_int(seed & _MASK) + epoch)
    keys = _mix(np.arange(rows, dtype=np.uint64) + np.uint64(key))
    return np.argsort(keys, kind="stable")


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014) on every value; unsigned overflow is meant."""
    x = x * np.uint64(_GOLDEN)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _mix_int(x: int) -> int:
    return int(_mix(np.array([x & _MASK], dtype=np.uint64))[0])
