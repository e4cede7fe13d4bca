"""The memory of keys and values that the native kernels read and write.

Shapes: P positions of the pool, K key/value heads, E head_dim, W kv_lora_rank + qk_rope_head_dim.
"""

from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.block_store import ARRAYS, block_kinds, part_of_row
from llmkit.engine.layer_groups import LayerGroups, one_group
from llmkit.engine.native.states import NativeStates
from llmkit.kernels.forward_memory import KeptMemory
from llmkit.kernels.memory import ValueType, fresh_bytes
from llmkit.model.config import ModelConfig

_TYPES = {"float32": ValueType.FLOAT32, "bfloat16": ValueType.BFLOAT16, "int8": ValueType.CODES8}


class NativeStore:
    """Room for keys and values of so many blocks, each of a group of layers. See `BlockStore`.

    Memory that was never written is not taken: the arrays are as large as they may become.

    Attributes:
        num_groups: of layers.
        arrays: of each of `kinds` one (P, K, E), of scales (P, K), of latents (P, W); bfloat16 is uint16.
        states: of texts; None for a model without layers of state.
    """

    def __init__(
        self,
        config: ModelConfig,
        num_blocks: int,
        block_tokens: int,
        dtype: str,
        groups: LayerGroups | None = None,
        slots: int = 1,
    ) -> None:
        """
        Args:
            config: of the model.
            num_blocks: of the pool.
            block_tokens: positions of a block.
            dtype: of keys and values: float32, bfloat16 or int8.
            groups: of the layers; None: all are in one.
            slots: states that there is room for, where layers keep one.
        """
        groups = groups or one_group(config)
        self.num_groups = groups.count
        self.kinds = block_kinds(config, dtype, groups.layers_in_block)
        self.block_tokens = block_tokens
        rows = num_blocks * block_tokens
        self.arrays = [
            fresh_bytes(rows * kind.position_bytes).view(ARRAYS[kind.dtype]).reshape(rows, *kind.shape)
            for kind in self.kinds
        ]
        self._by_block = [one.view(np.uint8).reshape(num_blocks, -1) for one in self.arrays]
        each = len(block_kinds(config, dtype, 1))
        offset = partial(_offset, config, groups, dtype)
        addresses = [one.ctypes.data for one in self.arrays]
        keys, *others = (
            [
                0 if place < 0 else addresses[place * each + number] + offset(layer, number)
                for layer, place in enumerate(groups.place_of)
            ]
            for number in range(each)
        )
        values, *scales = others or (keys,)  # of latents both are made
        self.states = NativeStates(config, slots) if config.state_layers else None
        self.memory = KeptMemory(
            keys,
            values,
            _TYPES[dtype],
            block_tokens,
            (prod(self.kinds[0].shape), self.kinds[-1].shape[0]) if self.kinds else (0, 0),
            (scales[0], scales[1]) if scales else None,
            groups.group_of,
            None if self.states is None else self.states.kept,
        )
        """The same, as a pass is told of it."""

    @property
    def nbytes(self) -> int:
        """See `BlockStore`."""
        states = 0 if self.states is None else self.states.nbytes
        return states + sum(one.nbytes for one in self.arrays)

    def read_block(self, number: int, block: int) -> NDArray[np.uint8]:
        """See `BlockStore`."""
        return self._by_block[number][block]

    def write_block(self, number: int, block: int, content: NDArray[np.uint8]) -> None:
        """See `BlockStore`."""
        self._by_block[number][block] = content


def _offset(config: ModelConfig, groups: LayerGroups, dtype: str, layer: int, number: int) -> int:
    """Bytes from the beginning of a row to what is a layer's."""
    if config.full_heads is None:
        return 0
    first, _ = part_of_row(config, layer, groups.slot(layer), number)
    return first * ARRAYS["float32" if number > 1 else dtype].itemsize
