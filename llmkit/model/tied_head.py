"""The head of a model that scores with its embedding.

Shapes: D hidden_size, V vocab_size.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.config import ModelConfig
from llmkit.model.here import here


class TiedHead(nn.Module):
    """A head that is the embedding matrix itself: no parameter of its own, no tensor on disk."""

    def __init__(self, embedding: nn.Embedding, config: ModelConfig) -> None:
        super().__init__()
        self._embedding = (embedding,)  # in a tuple, so that its weight is registered once
        self.bias = nn.Parameter(torch.zeros(config.vocab_size)) if config.head_bias else None

    @property
    def weight(self) -> Tensor:
        """(V, D)."""
        return self._embedding[0].weight

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., D). Returns (..., V)."""
        return F.linear(x, here(self.weight), here(self.bias))
