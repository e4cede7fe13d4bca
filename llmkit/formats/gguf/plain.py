"""ggml's plain numbers, read and written: F32, F16, BF16, F64.

values (N,) float32, stored (N,) of the type's own kind
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError
from llmkit.formats.bfloat16 import nearest, widened

Stored = NDArray[Any]
Floats = NDArray[np.float32]

F32, F16, BF16, F64 = (np.dtype(name) for name in ("<f4", "<f2", "<u2", "<f8"))


def narrowed(values: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Values as floats of fewer bits, to the nearest, ties to even.

    Raises:
        DataError: a finite value is beyond the type, and would become infinite.
    """
    try:
        with np.errstate(over="raise", under="ignore", invalid="ignore"):
            return values.astype(dtype, copy=False)
    except FloatingPointError:
        raise _too_large(values, name) from None


def read_float(stored: Stored) -> Floats:
    """Float32, float16 or float64 as float32."""
    return narrowed(stored, np.dtype(np.float32), "float32")


def read_bf16(stored: Stored) -> Floats:
    """bfloat16 is the upper half of a float32."""
    return widened(stored)


def write_f32(values: Floats) -> Stored:
    """As it is."""
    return values.astype(F32, copy=False)


def write_f16(values: Floats) -> Stored:
    """To the nearest float16, ties to even.

    Raises:
        DataError: a finite value is beyond float16.
    """
    return narrowed(values, F16, "F16")


def write_bf16(values: Floats) -> Stored:
    """To the nearest bfloat16, ties to even; a NaN stays one and becomes quiet.

    Raises:
        DataError: a finite value rounds to infinity.

    Source: ggml_compute_fp32_to_bf16, ggml/src/ggml-impl.h.
    """
    rounded = nearest(values)
    if np.any(np.isinf(widened(rounded)) & np.isfinite(values)):
        raise _too_large(values, "BF16")
    return rounded.astype(BF16, copy=False)


def _too_large(values: NDArray[Any], name: str) -> DataError:
    largest = np.max(np.abs(values[np.isfinite(values)]))
    return DataError(f"the value {largest:.6g} is beyond {name}", hint="take a type of a larger range: F32")
