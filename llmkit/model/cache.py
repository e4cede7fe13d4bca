"""The key/value cache: memory of the positions already seen, reserved once.

Shapes: B batch, T new positions, S all positions so far, K key/value heads, E head_dim.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.model.config import ModelConfig
from llmkit.model.held import Held
from llmkit.model.latent_cache import LatentCache
from llmkit.model.layer_sizes import head_sizes
from llmkit.model.layout import Layout, Span
from llmkit.model.recurrent.held import HeldNothing, HeldState, StateLayer


class HeldLayer(Protocol):
    """What one layer keeps of the positions already seen."""

    def extend(
        self, new: Sequence[Tensor], layout: Layout
    ) -> Iterator[tuple[slice, list[Tensor], Tensor | None]]:
        """Keep new positions, and give back text by text all that there are.

        Args:
            new: keys and values, each (B, K, T, E); or the rows of latent attention, (B, T, W).
            layout: of the layer.

        Yields:
            Which of the new positions belong to a text; each kept tensor with all of the text's positions, in
            the shape of the new ones with S for T; and which of these its new positions see.
        """


class Cache(Protocol):
    """What all layers keep, for one pass of the model."""

    @property
    def layers(self) -> Sequence[HeldLayer | StateLayer]:
        """First to last."""

    def spans(self, count: int) -> Sequence[Span]:
        """Where the `count` new positions of a pass stand, text after text."""

    def advance(self, count: int) -> None:
        """Every layer has the new positions now."""


class KVCache:
    """Keys and values, or the states, of every layer for up to `capacity` positions.

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
        self.layers = [
            HeldNothing()
            if layer in config.layers_without_keys and layer not in config.state_layers
            else HeldState(config, batch, dtype, device)
            if layer in config.state_layers
            else _layer_cache(config, layer, batch, capacity, dtype, device)
            for layer in range(config.num_hidden_layers)
        ]
        self.capacity = capacity
        self.length = 0
        """Positions held."""
        self.reach = 0
        """Positions of the whole text, where more than those read so far are known: rotations that depend on
        a text's length have this one, so that a prompt read in parts is rotated as if read at once."""

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return sum(layer.nbytes for layer in self.layers)

    def spans(self, count: int) -> list[Span]:
        """All texts of a batch stand at the same places."""
        return [Span(self.length, count, self.reach)]

    def advance(self, count: int) -> None:
        """Count the positions that every layer has appended in this pass."""
        self.length += count
        for layer in self.layers:
            if not isinstance(layer, HeldState):
                layer.length = self.length

    def rewind(self, length: int) -> None:
        """Forget everything after the first `length` positions.

        Raises:
            UsageError: fewer positions are held, or a layer has a state, which keeps no positions apart.
        """
        if length != self.length and any(isinstance(layer, HeldState) for layer in self.layers):
            raise UsageError(
                "a cache of states does not go back to an earlier position",
                hint="begin a new cache, and read the text again",
            )
        if not 0 <= length <= self.length:
            raise UsageError(
                f"cannot rewind a cache of {self.length} positions to {length}",
                hint="rewind to an earlier one",
            )
        self.advance(length - self.length)


class LayerCache(Held):
    """One layer's keys and values, each (B, K, capacity, E), of which `length` positions are filled."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__(keys, values)
        self.keys = keys
        self.values = values

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, (B, K, S, E), with T new positions after those held: see `Held.store`."""
        keys, values = self.store((keys, values))
        return keys, values


def _layer_cache(
    config: ModelConfig, layer: int, batch: int, capacity: int, dtype: torch.dtype, device: torch.device | str
) -> LayerCache | LatentCache:
    if config.latent is not None:
        width = config.latent.kv_lora_rank + config.latent.qk_rope_head_dim
        return LatentCache(torch.empty(batch, capacity, width, dtype=dtype, device=device))
    heads = head_sizes(config, layer)
    shape = (batch, heads.num_key_value_heads, capacity, heads.head_dim)
    keys, values = (torch.empty(shape, dtype=dtype, device=device) for _ in range(2))
    return LayerCache(keys, values)
