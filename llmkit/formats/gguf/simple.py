"""ggml's blocks with one scale: 32 numbers (Q1_0: 128, Q2_0: 64, NVFP4: 4 times 16), read; Q8_0 also written.

    stored (N,) of the block's layout, values (N, 32) float32

A layout repeats the C struct of ggml/src/ggml-common.h, and the arithmetic is that of ggml-quants.c in the
same order, so that values are equal bit for bit.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError
from llmkit.formats.gguf.plain import narrowed

Stored = NDArray[Any]
Floats = NDArray[np.float32]

Q1_0 = np.dtype([("d", "<f2"), ("qs", "u1", 16)])
Q2_0 = np.dtype([("d", "<f2"), ("qs", "u1", 16)])
Q4_0 = np.dtype([("d", "<f2"), ("qs", "u1", 16)])
Q4_1 = np.dtype([("d", "<f2"), ("m", "<f2"), ("qs", "u1", 16)])
Q5_0 = np.dtype([("d", "<f2"), ("qh", "u1", 4), ("qs", "u1", 16)])
Q5_1 = np.dtype([("d", "<f2"), ("m", "<f2"), ("qh", "u1", 4), ("qs", "u1", 16)])
Q8_0 = np.dtype([("d", "<f2"), ("qs", "i1", 32)])
IQ4_NL = np.dtype([("d", "<f2"), ("qs", "u1", 16)])
MXFP4 = np.dtype([("e", "u1"), ("qs", "u1", 16)])
NVFP4 = np.dtype([("d", "u1", 4), ("qs", "u1", 32)])

IQ4_VALUES = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], dtype=np.float32
)
"""What the 16 codes of IQ4_NL and IQ4_XS stand for."""
_E2M1_DOUBLED = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], dtype=np.float32)


def spread(packed: NDArray[np.uint8], bits: int, run: int) -> NDArray[np.uint8]:
    """Codes of `bits` bits, (N, bytes) to (N, codes).

    Each `run` bytes hold first the lowest bits of all of them, then the next higher ones, and so on.
    """
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    parts = packed.reshape(len(packed), -1, 1, run) >> shifts
    return (parts & np.uint8((1 << bits) - 1)).reshape(len(packed), packed.shape[1] * (8 // bits))


def column(stored: NDArray[Any]) -> Floats:
    """One number of each block, (N,), to stand beside its values: (N, 1)."""
    return stored.astype(np.float32)[:, None]


def read_q1_0(stored: Stored) -> Floats:
    """Scale with a sign: plus where the bit is set."""
    return column(stored["d"]) * (np.float32(2) * spread(stored["qs"], 1, 1) - np.float32(1))


def read_q2_0(stored: Stored) -> Floats:
    """Scale times a code from -1 to 2."""
    return column(stored["d"]) * (spread(stored["qs"], 2, 1).astype(np.float32) - np.float32(1))


def read_q4_0(stored: Stored) -> Floats:
    """Scale times a code from -8 to 7."""
    return column(stored["d"]) * (spread(stored["qs"], 4, 16).astype(np.float32) - np.float32(8))


def read_q4_1(stored: Stored) -> Floats:
    """Scale times a code from 0 to 15, and a minimum."""
    return column(stored["d"]) * spread(stored["qs"], 4, 16).astype(np.float32) + column(stored["m"])


def read_q5_0(stored: Stored) -> Floats:
    """Scale times a code from -16 to 15."""
    return column(stored["d"]) * (five_bits(stored).astype(np.float32) - np.float32(16))


def read_q5_1(stored: Stored) -> Floats:
    """Scale times a code from 0 to 31, and a minimum."""
    return column(stored["d"]) * five_bits(stored).astype(np.float32) + column(stored["m"])


def read_q8_0(stored: Stored) -> Floats:
    """Scale times a code from -128 to 127."""
    return column(stored["d"]) * stored["qs"].astype(np.float32)


def read_iq4_nl(stored: Stored) -> Floats:
    """Scale times a value of the table."""
    return column(stored["d"]) * IQ4_VALUES[spread(stored["qs"], 4, 16)]


def read_mxfp4(stored: Stored) -> Floats:
    """A power of two times a float of 4 bits (OCP MX); the table holds doubles, the scale is halved."""
    return power_of_two(stored["e"])[:, None] * _E2M1_DOUBLED[spread(stored["qs"], 4, 16)]


def read_nvfp4(stored: Stored) -> Floats:
    """Four scales, unsigned floats of 8 bits (4 of exponent, 3 of fraction), each for 16 floats of 4 bits."""
    values = _E2M1_DOUBLED[spread(stored["qs"], 4, 8)].reshape(-1, 4, 16)
    return (e4m3_halves(stored["d"])[..., None] * values).reshape(-1, 64)


def power_of_two(exponents: NDArray[np.uint8]) -> Floats:
    """Half of what MXFP4's scales stand for: the table of its codes has doubles."""
    exponent = exponents.astype(np.uint32)
    normal = (exponent - np.uint32(1)) << np.uint32(23)  # below 2 wraps round, and is not taken
    return np.where(exponent < 2, np.uint32(1 << 21) << exponent, normal).view(np.float32)


def e4m3_halves(scales: NDArray[np.uint8]) -> Floats:
    """Half of what NVFP4's scales stand for."""
    code = scales.astype(np.int32)
    exponent, fraction = code >> 3 & 15, (code & 7).astype(np.float32)
    normal = np.ldexp(np.float32(1) + fraction / np.float32(8), exponent - 7)
    scale = np.where(exponent == 0, np.ldexp(fraction, -9), normal) * np.float32(0.5)
    scale[code == 0x7F] = 0  # not a number, says the format; ggml takes zero
    return scale.astype(np.float32)


def write_q8_0(values: Floats) -> Stored:
    """Blocks of (N, 32) values: the largest becomes ±127, others the nearest code, halves away from zero.

    Raises:
        DataError: a value is not finite, or the scale is beyond float16.

    Source: quantize_row_q8_0_ref, ggml/src/ggml-quants.c.
    """
    if not np.isfinite(values).all():
        raise DataError("a value is not a number, or infinite: Q8_0 has none", hint="keep this tensor in F16")
    scale = np.abs(values).max(axis=1) / np.float32(127)
    stored = np.empty(len(values), Q8_0)
    stored["d"] = narrowed(scale, np.dtype("<f2"), "Q8_0's scale")
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scale
    inverse[~np.isfinite(inverse)] = 0  # of zeros, and of blocks whose scale is far below float16's least
    scaled = values * inverse[:, None]
    whole = np.trunc(scaled)
    stored["qs"] = whole + np.copysign(np.abs(scaled - whole) >= np.float32(0.5), scaled)
    return stored


def five_bits(stored: Stored) -> NDArray[np.uint8]:
    """The codes of Q5_0 and Q5_1, from 0: (N, 32)."""
    high = np.unpackbits(stored["qh"], axis=1, bitorder="little")
    return spread(stored["qs"], 4, 16) | high << np.uint8(4)
