"""The largest logits of each row, without sorting the rest."""

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.library import finished, library
from llmkit.kernels.memory import Floats, Rows, ValueType, rows_of


def top_k(logits: Floats | Rows, k: int) -> tuple[Floats, NDArray[np.int32]]:
    """Values (rows, k) and their columns (rows, k), largest first; of equal values the lower column first.

    NaN counts as minus infinity.

    Raises:
        ValueError: k is not between 1 and the number of columns.
    """
    rows = logits if isinstance(logits, Rows) else rows_of(logits)
    if rows.value_type is not ValueType.FLOAT32:
        raise ValueError(f"logits are float32, not {rows.value_type.name}")
    if not 1 <= k <= rows.num_cols:
        raise ValueError(f"k is {k}, the rows have {rows.num_cols} columns")
    values = np.empty((rows.num_rows, k), np.float32)
    indices = np.empty((rows.num_rows, k), np.int32)
    finished(
        library().llmkit_top_k(
            *(rows.address, rows.num_rows, rows.num_cols, rows.stride, k),
            *(values.ctypes.data, indices.ctypes.data),
        )
    )
    return values, indices
