"""In which order rows are learnt: a seeded permutation of all rows for each epoch.

A position in it is one whole number, the rows consumed so far. So the order depends on the seed and the
number of rows alone: not on batch size, workers, the version of a library, or where a run was stopped.
"""

import numpy as np
from numpy.typing import NDArray

from llmkit.tokens.permutation import permutation


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
