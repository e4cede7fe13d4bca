"""What a request adds to the scores of single tokens.

Shapes: V vocab_size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class Bias:
    """Additions to scores: -100 forbids a token in practice, 100 forces it."""

    def __init__(self, pairs: Sequence[tuple[int, float]]) -> None:
        """pairs: ids and what is added; an id that comes twice gets both."""
        self._ids = torch.tensor([one for one, _ in pairs])
        self._added = torch.tensor([added for _, added in pairs], dtype=torch.float32)

    def apply(self, logits: Tensor) -> Tensor:
        """logits: (V,) float32. Returns (V,), the given ones unchanged."""
        return logits.index_add(0, self._ids, self._added)
