"""The memory of keys and values as those see it that copy blocks: kinds of tensors, and bytes.

Shapes: K key/value heads, E head_dim, W kv_lora_rank + qk_rope_head_dim.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.layer_sizes import head_sizes, side_by_side
from llmkit.model.stored_numbers import ARRAY_DTYPES

ARRAYS: dict[str, np.dtype[Any]] = {**ARRAY_DTYPES, "int8": np.dtype(np.int8)}
"""What numbers of a dtype are to numpy, by its name."""
CODES_ESTIMATED_AS = "int8-token"
"""The name that `llmkit.estimate` has for keys and values in int8, as `kv_codes` keeps them."""


@dataclass(frozen=True, slots=True)
class BlockKind:
    """One tensor of a layer."""

    layer: int
    """Its place in a block, where layers are in groups."""
    number: int
    """Keys are 0, values 1, and with int8 the scales of both 2 and 3; latents are 0."""
    dtype: str
    shape: tuple[int, ...]
    """Of one position."""

    @property
    def position_bytes(self) -> int:
        """Bytes of one position."""
        return prod(self.shape) * ARRAYS[self.dtype].itemsize


def part_of_row(config: ModelConfig, layer: int, slot: int, number: int) -> tuple[int, tuple[int, ...]]:
    """Where in the rows of its place a layer's numbers begin, and their shape.

    Args:
        config: of the model, whose layers keep keys and values of heads.
        layer: which.
        slot: its part of the place.
        number: as `BlockKind.number`.
    """
    heads = head_sizes(config, layer)
    if number > 1:
        return slot * heads.num_key_value_heads, (heads.num_key_value_heads,)
    return slot * heads.width, (heads.num_key_value_heads, heads.head_dim)


class BlockStore(Protocol):
    """Room for keys and values of so many blocks, each of all layers or of a group of them.

    Attributes:
        kinds: of every tensor of every layer, in this order.
        block_tokens: positions of a block.
    """

    kinds: list[BlockKind]
    block_tokens: int

    @property
    def nbytes(self) -> int:
        """Bytes that all blocks may take."""

    def read_block(self, number: int, block: int) -> NDArray[np.uint8]:
        """The bytes of a block in a tensor, by its place in `kinds`; they may change with the block."""

    def write_block(self, number: int, block: int, content: NDArray[np.uint8]) -> None:
        """Put bytes into a block of a tensor."""


def block_kinds(config: ModelConfig, dtype: str, layers: int | None = None) -> list[BlockKind]:
    """The tensors that a model's keys and values are kept in.

    Args:
        config: of the model.
        dtype: of keys and values; int8 is `kv_codes`.
        layers: that a block has room for, none where all keep a state; None: all.

    Raises:
        ConfigError: int8, where a model keeps other than keys and values of heads.
    """
    check_kv_dtype(config, dtype)
    kinds = [(shape, dtype) for shape in _row_shapes(config)]
    if dtype == "int8":
        scales = (_heads_in_row(config),)
        kinds += [(scales, "float32") for _ in kinds]
    return [
        BlockKind(layer, number, kind, shape)
        for layer in range(config.num_hidden_layers if layers is None else layers)
        for number, (shape, kind) in enumerate(kinds)
    ]


def check_kv_dtype(config: ModelConfig, dtype: str) -> None:
    """Refuse int8 where it has no meaning.

    Raises:
        ConfigError: the model keeps latents.
    """
    if dtype == "int8" and config.latent is not None:
        raise ConfigError(
            f"an int8 cache holds keys and values of heads, and {config.model_type} keeps latents (MLA)",
            hint="--kv-dtype bfloat16",
        )


def _row_shapes(config: ModelConfig) -> tuple[tuple[int, ...], ...]:
    """Of one position in one layer: keys and values, or the row that both are made of. Where layers have not
    all as many numbers, of the widest, in which several others may stand side by side."""
    if config.latent is not None:
        return ((config.latent.kv_lora_rank + config.latent.qk_rope_head_dim,),)
    if config.full_heads is not None:
        widest = max(head_sizes(config, layer).width for layer in config.attention_layers)
        return ((widest,), (widest,))
    shape = (config.num_key_value_heads, config.head_dim)
    return (shape, shape)


def _heads_in_row(config: ModelConfig) -> int:
    """Key/value heads that a row has room for, of one layer or of narrow ones side by side."""
    if config.full_heads is None:
        return config.num_key_value_heads
    return max(
        side_by_side(config, layer) * head_sizes(config, layer).num_key_value_heads
        for layer in config.attention_layers
    )
