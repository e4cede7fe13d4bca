"""ggml's blocks of 32 numbers with one scale, written from codes: the inverse of gguf/simple.py's readers.

    fields (N,) of a block each: d, and m where there is one; codes (N, 32) uint8, from 0

A code is the place of a value in the type's order: 0 is -8 in Q4_0, -16 in Q5_0, -127 in Q8_0.
Codes are worked on eight at a time, as bytes of a word, with the blocks of a chunk side by side: planes,
(words of a block, N).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.gguf.simple import IQ4_NL, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0

Stored = NDArray[Any]
Fields = Mapping[str, NDArray[Any]]
Codes = NDArray[np.uint8]
Planes = NDArray[Any]
"""(words or bytes of a block, N) unsigned."""


def planes(codes: Codes) -> NDArray[np.uint64]:
    """Codes of blocks, (N, values), as words of eight: (values / 8, N)."""
    return np.ascontiguousarray(np.ascontiguousarray(codes).view(np.uint64).T)


def folded(parts: Planes, bits: int, run: int) -> Planes:
    """Codes of `bits` bits together in bytes: the inverse of `simple.spread`, along the first axis.

    Each `run` rows of the result hold the lowest bits first, then the next higher ones, and so on.
    """
    apart = parts.reshape(-1, 8 // bits, run, parts.shape[-1])
    result = apart[:, 0].copy()
    for part in range(1, 8 // bits):
        result |= apart[:, part] << parts.dtype.type(part * bits)
    return result.reshape(-1, parts.shape[-1])


def rows_of_bytes(parts: Planes) -> Codes:
    """Back to one block after the other: (N, bytes)."""
    return np.ascontiguousarray(parts.T).view(np.uint8)


def write_q4_0(fields: Fields, codes: Codes) -> Stored:
    """Codes from 0 to 15."""
    return _nibbles(Q4_0, fields, planes(codes))


def write_iq4_nl(fields: Fields, codes: Codes) -> Stored:
    """Codes from 0 to 15, places in the table."""
    return _nibbles(IQ4_NL, fields, planes(codes))


def write_q4_1(fields: Fields, codes: Codes) -> Stored:
    """Codes from 0 to 15, and a minimum."""
    return _nibbles(Q4_1, fields, planes(codes))


def write_q5_0(fields: Fields, codes: Codes) -> Stored:
    """Codes from 0 to 31."""
    return _five_bits(Q5_0, fields, codes)


def write_q5_1(fields: Fields, codes: Codes) -> Stored:
    """Codes from 0 to 31, and a minimum."""
    return _five_bits(Q5_1, fields, codes)


def write_q8_0(fields: Fields, codes: Codes) -> Stored:
    """Codes from 0 to 254: whole numbers from -127."""
    stored = _with(Q8_0, fields, len(codes))
    np.subtract(codes, np.uint8(127), out=stored["qs"].view(np.uint8))
    return stored


def _nibbles(layout: np.dtype[Any], fields: Fields, parts: NDArray[np.uint64]) -> Stored:
    stored = _with(layout, fields, parts.shape[1])
    stored["qs"] = rows_of_bytes(folded(parts, 4, 2))
    return stored


def _five_bits(layout: np.dtype[Any], fields: Fields, codes: Codes) -> Stored:
    parts = planes(codes)
    stored = _nibbles(layout, fields, parts & np.uint64(0x0F0F0F0F0F0F0F0F))
    high = np.packbits(np.ascontiguousarray(codes).reshape(-1) > 15, bitorder="little")
    stored["qh"] = high.reshape(len(codes), 4)
    return stored


def _with(layout: np.dtype[Any], fields: Fields, count: int) -> Stored:
    stored = np.empty(count, layout)
    for name, values in fields.items():
        stored[name] = values
    return stored
