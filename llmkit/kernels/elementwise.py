"""RMSNorm, rotary positions and gated activations on float32 rows."""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.library import finished, library
from llmkit.kernels.memory import Floats, Rows, ValueType, check_floats, rows_of


class Activation(IntEnum):
    """What a gate passes through; numbers as in native/kernels.h."""

    SILU = 0
    GELU_TANH = 1
    GELU = 2
    RELU = 3
    RELU_SQUARED = 4
    CLAMPED_SWIGLU = 5
    """gpt-oss's, whose limit only a whole pass knows."""
    XIELU = 6
    """Apertus's, whose curve is each layer's own."""
    LOGISTIC = 7
    """What attention's own gate passes through."""


def rms_norm(
    x: Floats | Rows, weight: Floats | None, *, epsilon: float, offset: float = 0.0, out: Floats | None = None
) -> Floats:
    """x / sqrt(mean(x^2) + epsilon) * (offset + weight), for each row.

    Args:
        x: (rows, cols).
        weight: (cols), or None for no factor at all.
        offset: 1 for Gemma, whose weights are kept as their distance from 1.
        out: where the result goes, instead of a new array; may be `x`.

    Source: Zhang and Sennrich 2019, arXiv:1910.07467.
    """
    rows = _float_rows("x", x)
    out, target = _target(out, rows)
    factor = None if weight is None else check_floats("weight", weight, (rows.num_cols,))
    finished(
        library().llmkit_rms_norm(
            *(rows.address, factor, target.address, rows.num_rows, rows.num_cols),
            *(rows.stride, target.stride, epsilon, offset),
        )
    )
    return out


def rotate(
    x: Floats | Rows, cosine: Floats, sine: Floats, positions: NDArray[np.int32], *, head_dim: int
) -> None:
    """Turn each head of `x` by its position, in place: pairs (i, i + R/2) of the first R values of a head.

    Args:
        x: (rows, heads * head_dim).
        cosine, sine: (P, R / 2) tables, R at most head_dim.
        positions: (rows), below P.

    Raises:
        ValueError: shapes that do not go together, or a position outside the tables.

    Source: Su et al. 2021, arXiv:2104.09864.
    """
    rows = _float_rows("x", x)
    table = (cosine.shape[0], cosine.shape[1])
    if rows.num_cols % head_dim or 2 * table[1] > head_dim:
        raise ValueError(f"rows of {rows.num_cols} values, heads of {head_dim}, tables of {2 * table[1]}")
    if positions.dtype != np.int32 or positions.shape != (rows.num_rows,) or not positions.flags.c_contiguous:
        raise ValueError(f"positions are contiguous int32 ({rows.num_rows},)")
    if rows.num_rows and not 0 <= int(positions.min()) <= int(positions.max()) < table[0]:
        raise ValueError(f"a position outside the tables' {table[0]}")
    finished(
        library().llmkit_rotary(
            *(rows.address, check_floats("cosine", cosine, table), check_floats("sine", sine, table)),
            *(positions.ctypes.data, rows.num_rows, rows.stride),
            *(rows.num_cols // head_dim, head_dim, 2 * table[1]),
        )
    )


def gate(
    gates: Floats | Rows, up: Floats | Rows, activation: Activation, *, out: Floats | None = None
) -> Floats:
    """activation(gates) * up, value by value: SwiGLU or GeGLU (arXiv:2002.05202). `out` may be either
    operand."""
    if activation in (Activation.CLAMPED_SWIGLU, Activation.XIELU):
        raise ValueError(
            f"{activation.name} has numbers of its own, a limit or a curve, which only a whole pass is told"
        )
    left, right = _float_rows("gates", gates), _float_rows("up", up)
    if (left.num_rows, left.num_cols) != (right.num_rows, right.num_cols):
        raise ValueError(
            f"gates ({left.num_rows}, {left.num_cols}) and up ({right.num_rows}, {right.num_cols})"
        )
    out, target = _target(out, left)
    finished(
        library().llmkit_gated(
            *(activation, left.address, right.address, target.address, left.num_rows, left.num_cols),
            *(left.stride, right.stride, target.stride),
        )
    )
    return out


def _float_rows(name: str, values: Floats | Rows) -> Rows:
    rows = values if isinstance(values, Rows) else rows_of(values)
    if rows.value_type is not ValueType.FLOAT32:
        raise ValueError(f"{name} is float32, not {rows.value_type.name}")
    return rows


def _target(out: Floats | None, like: Rows) -> tuple[Floats, Rows]:
    out = np.empty((like.num_rows, like.num_cols), np.float32) if out is None else out
    target = _float_rows("out", out)
    if (target.num_rows, target.num_cols) != (like.num_rows, like.num_cols):
        raise ValueError(f"out is {out.shape}, not ({like.num_rows}, {like.num_cols})")
    return out, target
