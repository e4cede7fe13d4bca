"""ggml's ternary blocks, read: 256 numbers of -1, 0 or 1 and a scale. TQ1_0 has 5 to a byte, TQ2_0 has 4.

    stored (N,) of the block's layout, values (N, 256) float32

Source: ggml/src/ggml-common.h, and dequantize_row_tq1_0 and _tq2_0 in ggml-quants.c.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.gguf.simple import column, spread

Stored = NDArray[Any]
Floats = NDArray[np.float32]

TQ1_0 = np.dtype([("qs", "u1", 48), ("qh", "u1", 4), ("d", "<f2")])
TQ2_0 = np.dtype([("qs", "u1", 64), ("d", "<f2")])

_POWERS = np.array([1, 3, 9, 27, 81], dtype=np.uint8)


def read_tq1_0(stored: Stored) -> Floats:
    """A byte is a fraction of 256 in base 3: times 3 to the k, what is above 256 dropped, digit k leads."""
    qs = stored["qs"]
    parts = [_digits(qs[:, :32], 5), _digits(qs[:, 32:], 5), _digits(stored["qh"], 4)]
    return column(stored["d"]) * (np.concatenate(parts, axis=1).astype(np.float32) - np.float32(1))


def read_tq2_0(stored: Stored) -> Floats:
    """Scale times a code from -1 to 2, of which 2 is never written."""
    return column(stored["d"]) * (spread(stored["qs"], 2, 32).astype(np.float32) - np.float32(1))


def _digits(packed: NDArray[np.uint8], count: int) -> NDArray[np.uint16]:
    """(N, bytes) to (N, count · bytes): the first digit of all bytes, then the second, …"""
    shifted = packed[:, None, :] * _POWERS[:count, None]  # uint8: what is above 256 drops
    return (shifted.astype(np.uint16) * np.uint16(3) >> np.uint16(8)).reshape(len(packed), -1)
