"""bfloat16, which numpy does not have: the upper half of a float32, held as uint16."""

import numpy as np
from numpy.typing import NDArray

_HALF = np.uint32(16)
_QUIET = np.uint32(1 << 22)
"""The highest bit of a float32's fraction: set, a NaN is quiet."""


def widened(stored: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The same numbers as float32."""
    bits = stored.astype(np.uint32)
    np.left_shift(bits, _HALF, out=bits)
    return bits.view(np.float32)


def nearest(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """To the nearest, ties to even. What is beyond becomes infinite; a NaN stays one and becomes quiet."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits >> _HALF
    rounded &= np.uint32(1)  # half of a step, and less by one where the number is even
    rounded += np.uint32(0x7FFF)
    rounded += bits
    rounded >>= _HALF
    nan = np.isnan(values).reshape(bits.shape)
    if nan.any():
        rounded[nan] = (bits[nan] | _QUIET) >> _HALF
    return rounded.astype(np.uint16).reshape(values.shape)
