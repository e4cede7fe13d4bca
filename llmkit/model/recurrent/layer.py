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

    out_proj: nn.Linear

    def inputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """The products of x, (B, T, D), that are read: (B, T, ...) each."""
        raise NotImplementedError

    def read(
        self, inputs: Sequence[Tensor], before: Sequence[Tensor] | None, segments: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Texts from one state to the next.

        Args:
            inputs: as `inputs` gives them.
            before: the state of each text before, as `state_shapes` has it; None: they begin.
            segments: (B, T) which document each position belongs to, where rows have several.

        Returns:
            (B, T, ...), what the last product is of; and the state after.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, layout: Layout, cache: StateLayer | None = None) -> Tensor:
        """x: (B, T, D); of several texts in a cache end to end, where B is 1. Returns (B, T, D).

        Products are of all texts at once, as elsewhere: it is then that texts' own adapters add to them.
        """
        inputs = self.inputs(x)
        if cache is None:
            return self.out_proj(self.read(inputs, None, layout.segments)[0])
        read = []
        for rows in cache.rows():
            texts = [one[:, rows.part].reshape(rows.texts, -1, one.shape[-1]) for one in inputs]
            y, after = self.read(texts, rows.before, None)
            rows.keep(after)
            read.append(y.reshape(x.shape[0], -1, y.shape[-1]))
        return self.out_proj(read[0] if len(read) == 1 else torch.cat(read, 1))
