"""No end before so many tokens: vLLM's `min_tokens`.

Shapes: V vocab_size.
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class MinTokens:
    """Rules out what ends a text while it has fewer tokens."""

    def __init__(self, tokens: int, ends: Iterable[int]) -> None:
        """
        Args:
            tokens: that a text has before it may end.
            ends: ids that end it.
        """
        self._left = tokens
        self._ends = np.array(sorted(ends), np.int64)

    def apply(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """logits: (V,). Returns (V,), the given ones unchanged."""
        if self._left <= 0:
            return logits
        kept = logits.copy()
        kept[self._ends] = -math.inf
        return kept

    def add(self) -> None:
        """A token was drawn."""
        self._left -= 1
