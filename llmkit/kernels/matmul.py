"""y = x W^T for a packed W: one row of activations at memory speed, many at arithmetic speed.

A row's result depends neither on the rows beside it nor on the number of threads, to the bit. For int8 and
int4 weights the activations are rounded to int8 in groups of 32 first, as llama.cpp does.
"""

from ctypes import byref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.library import finished, library
from llmkit.kernels.memory import Floats, Rows, ValueType, check_floats, rows_of
from llmkit.kernels.packed import PackedWeight


def matmul(
    weight: PackedWeight,
    x: NDArray[Any] | Rows,
    *,
    bias: Floats | None = None,
    out: Floats | None = None,
    accumulate: bool = False,
) -> Floats:
    """x: (rows, num_cols) float32 or bfloat16 (as uint16). Returns (rows, num_rows) float32.

    Args:
        bias: (num_rows), added.
        out: where the result goes, instead of a new array.
        accumulate: add to what `out` holds.

    Raises:
        ValueError: shapes that do not go together.
    """
    rows = x if isinstance(x, Rows) else rows_of(x)
    if out is None:
        if accumulate:
            raise ValueError("accumulate needs an out to add to")
        out = np.empty((rows.num_rows, weight.num_rows), np.float32)
    check_floats("out", out, (rows.num_rows, weight.num_rows))
    bias_address = None if bias is None else check_floats("bias", bias, (weight.num_rows,))
    matmul_at(weight, rows, out.ctypes.data, weight.num_rows, bias_address, accumulate)
    return out


def matmul_at(
    weight: PackedWeight,
    x: Rows,
    out: int,
    out_stride: int,
    bias: int | None = None,
    accumulate: bool = False,
) -> None:
    """The same onto float32 rows at an address, `out_stride` values apart: for memory that is not numpy's."""
    if x.num_cols != weight.num_cols:
        raise ValueError(f"x has {x.num_cols} columns, the weight {weight.num_cols}")
    if x.value_type not in (ValueType.FLOAT32, ValueType.BFLOAT16):
        raise ValueError(f"x is float32 or bfloat16, not {x.value_type.name}")
    finished(
        library().llmkit_matmul(
            byref(weight.struct),
            x.value_type,
            x.address,
            x.stride,
            x.num_rows,
            bias,
            accumulate,
            out,
            out_stride,
        )
    )
