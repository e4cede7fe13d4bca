"""ggml's superblocks of 256 numbers in groups of 16 or 32, each group with a small scale of its own, read.

    stored (N,) of the block's layout, values (N, 256) float32

A layout repeats the C struct of ggml/src/ggml-common.h, and the arithmetic is that of ggml-quants.c in the
same order, so that values are equal bit for bit.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.gguf.simple import IQ4_VALUES, column, spread

Stored = NDArray[Any]
Floats = NDArray[np.float32]

NUMBERS = 256
"""In a superblock."""
Q2_K = np.dtype([("scales", "u1", 16), ("qs", "u1", 64), ("d", "<f2"), ("dmin", "<f2")])
Q3_K = np.dtype([("hmask", "u1", 32), ("qs", "u1", 64), ("scales", "u1", 12), ("d", "<f2")])
Q4_K = np.dtype([("d", "<f2"), ("dmin", "<f2"), ("scales", "u1", 12), ("qs", "u1", 128)])
Q5_K = np.dtype([("d", "<f2"), ("dmin", "<f2"), ("scales", "u1", 12), ("qh", "u1", 32), ("qs", "u1", 128)])
Q6_K = np.dtype([("ql", "u1", 128), ("qh", "u1", 64), ("scales", "i1", 16), ("d", "<f2")])
IQ4_XS = np.dtype([("d", "<f2"), ("scales_h", "u1", 2), ("scales_l", "u1", 4), ("qs", "u1", 128)])


def read_q2_k(stored: Stored) -> Floats:
    """16 groups: a scale and a minimum of 4 bits each, codes from 0 to 3."""
    scales, mins = stored["scales"] & np.uint8(15), stored["scales"] >> np.uint8(4)
    return _scaled_less_minimum(stored, scales, mins, spread(stored["qs"], 2, 32))


def read_q3_k(stored: Stored) -> Floats:
    """16 groups: a scale of 6 bits, codes from -4 to 3. Where a bit of the mask is clear, 4 is taken off."""
    low, high = spread(stored["scales"][:, :8], 4, 8), spread(stored["scales"][:, 8:], 2, 4)
    codes = spread(stored["qs"], 2, 32) | spread(stored["hmask"], 1, 32) << np.uint8(2)
    return _scaled(stored, _centred(low | high << np.uint8(4), 32), _centred(codes, 4))


def read_q4_k(stored: Stored) -> Floats:
    """8 groups: a scale and a minimum of 6 bits each, codes from 0 to 15."""
    scales, mins = scales_and_minima(stored["scales"])
    return _scaled_less_minimum(stored, scales, mins, spread(stored["qs"], 4, 32))


def read_q5_k(stored: Stored) -> Floats:
    """8 groups: a scale and a minimum of 6 bits each, codes from 0 to 31."""
    scales, mins = scales_and_minima(stored["scales"])
    codes = spread(stored["qs"], 4, 32) | spread(stored["qh"], 1, 32) << np.uint8(4)
    return _scaled_less_minimum(stored, scales, mins, codes)


def read_q6_k(stored: Stored) -> Floats:
    """16 groups: a scale of 8 bits, codes from -32 to 31."""
    codes = spread(stored["ql"], 4, 64) | spread(stored["qh"], 2, 32) << np.uint8(4)
    return _scaled(stored, stored["scales"].astype(np.float32), _centred(codes, 32))


def read_iq4_xs(stored: Stored) -> Floats:
    """8 groups: a scale of 6 bits, codes into IQ4_NL's table."""
    scales = spread(stored["scales_l"], 4, 1) | spread(stored["scales_h"], 2, 1) << np.uint8(4)
    return _scaled(stored, _centred(scales, 32), IQ4_VALUES[spread(stored["qs"], 4, 16)])


def _scaled(stored: Stored, scales: Floats, codes: Floats) -> Floats:
    """Scales: (N, groups); codes: (N, 256)."""
    groups = codes.reshape(*scales.shape, -1)
    return ((column(stored["d"]) * scales)[..., None] * groups).reshape(-1, NUMBERS)


def _scaled_less_minimum(
    stored: Stored, scales: NDArray[np.uint8], mins: NDArray[np.uint8], codes: NDArray[np.uint8]
) -> Floats:
    """Scales and mins: (N, groups); codes: (N, 256)."""
    groups = codes.reshape(*scales.shape, -1).astype(np.float32)
    groups *= (column(stored["d"]) * scales.astype(np.float32))[..., None]
    groups -= (column(stored["dmin"]) * mins.astype(np.float32))[..., None]
    return groups.reshape(-1, NUMBERS)


def scales_and_minima(packed: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Eight of 6 bits each, from 12 bytes.

    Bytes 0 to 3: scales 0 to 3, and above them the upper 2 bits of scales 4 to 7; 4 to 7: minima likewise.
    Bytes 8 to 11: the lower 4 bits of scales 4 to 7, and above them those of minima 4 to 7.
    """
    first, second, last = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    six, upper = np.uint8(63), np.uint8(48)
    scales = np.concatenate([first & six, last & np.uint8(15) | first >> np.uint8(2) & upper], axis=1)
    mins = np.concatenate([second & six, last >> np.uint8(4) | second >> np.uint8(2) & upper], axis=1)
    return scales, mins


def _centred(codes: NDArray[np.uint8], middle: int) -> Floats:
    return codes.astype(np.float32) - np.float32(middle)
