"""What a request adds to the scores of single tokens.

Shapes: V vocab_size.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Bias:
    """Additions to scores: -100 forbids a token in practice, 100 forces it."""

    def __init__(self, pairs: Sequence[tuple[int, float]]) -> None:
        """pairs: ids and what is added; an id that comes twice gets both."""
        self._ids = np.array([one for one, _ in pairs])
        self._added = np.array([added for _, added in pairs], np.float32)

    def apply(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """logits: (V,). Returns (V,), the given ones unchanged."""
        biased = logits.copy()
        np.add.at(biased, self._ids, self._added)
        return biased
