"""What layers of state have in common: they read rows of documents, or go on from what is held of texts.

Shapes: B batch, T new positions, D hidden_size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from llmkit.model.layout import Layout
from llmkit.model.recurrent.held import StateLayer


class Recurrent(nn.Module):
    """In the place of attention; what it keeps of a text is as large for every text."""

    def read(
        self, x: Tensor, before: Sequence[Tensor] | None, segments: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Texts from one state to the next.

        Args:
            x: (B, T, D).
            before: the state of each text before, as `state_shapes` has it; None: they begin.
            segments: (B, T) which document each position belongs to, where rows have several.

        Returns:
            (B, T, D), and the state after.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, layout: Layout, cache: StateLayer | None = None) -> Tensor:
        """x: (B, T, D); of several texts in a cache end to end, where B is 1. Returns (B, T, D)."""
        if cache is None:
            return self.read(x, None, layout.segments)[0]
        read = []
        for rows in cache.rows():
            texts = x[:, rows.part].reshape(rows.texts, -1, x.shape[-1])
            y, after = self.read(texts, rows.before, None)
            rows.keep(after)
            read.append(y.reshape(x.shape[0], -1, x.shape[-1]))
        return read[0] if len(read) == 1 else torch.cat(read, 1)
