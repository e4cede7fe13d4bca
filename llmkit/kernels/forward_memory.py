"""Memory that passes of a whole model write and read: keys and values of all texts, and states.

Shapes: K kv_heads, E head_dim.
"""

from collections.abc import Sequence

import numpy as np

from llmkit.kernels.forward_states import KeptStates
from llmkit.kernels.memory import ValueType


class KeptMemory:
    """Keys and values of all texts, layer by layer, and states of texts."""

    def __init__(
        self,
        keys: Sequence[int],
        values: Sequence[int],
        value_type: ValueType,
        block_size: int,
        row: tuple[int, int],
        scales: tuple[Sequence[int], Sequence[int]] | None = None,
        group_of: Sequence[int] | None = None,
        states: KeptStates | None = None,
    ) -> None:
        """
        Args:
            keys: for each layer the address of (positions, row), whose first numbers are its K heads of E, or
                of latents; not read where it has none.
            values: the same.
            value_type: FLOAT32, BFLOAT16 or CODES8.
            block_size: positions of a block.
            row: numbers from one position to the next, and scales.
            scales: of CODES8, for each layer the address of (positions, scales of a row), keys' and values'.
            group_of: for each layer the group whose blocks it has; None: all are in one.
            states: where layers of state have them.
        """
        assert (scales is not None) == (value_type is ValueType.CODES8)
        self._addresses = np.array([keys, values, *(scales or ())], np.uintp)
        rows = [row.ctypes.data for row in self._addresses]
        self.addresses: tuple[int | None, ...] = (*rows, None, None)[:4]
        """Of the lists for keys, values, and their scales."""
        self.num_layers, self.value_type, self.block_size = len(keys), value_type, block_size
        self.row = row
        self._group_of = np.array((0,) * len(keys) if group_of is None else group_of, np.int32)
        self.group_of_address = self._group_of.ctypes.data
        self.num_groups = int(self._group_of.max(initial=0)) + 1
        self.states = KeptStates([], 0) if states is None else states
