"""Which rows of Qwen3-Next's two matrices of inputs are whose: both go key head by key head. No torch."""

import numpy as np
from numpy.typing import NDArray

from llmkit.model.config_states import DeltaConfig

Order = NDArray[np.int64]


def inputs_by_head(delta: DeltaConfig) -> tuple[Order, Order]:
    """Rows of a matrix that has each key head's query, key, values and gates together: all queries, then all
    keys, then all values; and the gates."""
    values = delta.value_width // delta.num_key_heads
    rows = np.arange(delta.convolved + delta.value_width).reshape(delta.num_key_heads, -1)
    ends = np.cumsum((delta.key_head_dim, delta.key_head_dim, values))
    *convolved, gates = (part.reshape(-1) for part in np.split(rows, ends, axis=1))
    return np.concatenate(convolved), gates


def rates_by_head(delta: DeltaConfig) -> tuple[Order, Order]:
    """Rows of a matrix that has each key head's rates and decays together: all rates, and all decays."""
    rows = np.arange(2 * delta.num_value_heads).reshape(delta.num_key_heads, 2, -1)
    return rows[:, 0].reshape(-1), rows[:, 1].reshape(-1)
