"""The key/value cache: memory of the positions already seen, reserved once.

Shapes: B batch, T new positions, S all positions so far, K key/value heads, E head_dim.
"""

import torch
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.model.config import ModelConfig


class KVCache:
    """Keys and values of every layer for up to `capacity` positions.

    The model appends to each layer in turn and advances `length` when a pass is over.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (batch, config.num_key_value_heads, capacity, config.head_dim)
        self.layers = [
            LayerCache(
                torch.empty(shape, dtype=dtype, device=device), torch.empty(shape, dtype=dtype, device=device)
            )
            for _ in range(config.num_hidden_layers)
        ]
        self.capacity = capacity

    @property
    def length(self) -> int:
        """Positions held."""
        return self.layers[0].length

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.layers)

    def advance(self, count: int) -> None:
        """Count the positions that every layer has appended in this pass."""
        for layer in self.layers:
            layer.length += count

    def rewind(self, length: int) -> None:
        """Forget everything after the first `length` positions.

        Raises:
            UsageError: fewer positions are held.
        """
        if not 0 <= length <= self.length:
            raise UsageError(
                f"cannot rewind a cache of {self.length} positions to {length}",
                hint="rewind to an earlier one",
            )
        self.advance(length - self.length)


class LayerCache:
    """One layer's keys and values, each (B, K, capacity, E), of which `length` positions are filled."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys = keys
        self.values = values
        self.length = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store T new positions after those held.

        Args:
            keys: (B, K, T, E).
            values: (B, K, T, E).

        Returns:
            All keys and all values, (B, K, S, E), in the cache's dtype.

        Raises:
            UsageError: the cache is full.
        """
        end = self.length + keys.shape[2]
        if end > self.keys.shape[2]:
            raise UsageError(
                f"the cache holds {self.keys.shape[2]} positions and {end} are needed",
                hint="reserve a larger capacity, or generate fewer tokens",
            )
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        return self.keys[:, :, :end], self.values[:, :, :end]
