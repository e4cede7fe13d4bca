"""ggml's superblocks of 256 numbers, written from codes and scales: the inverse of k_quants.py's readers.

    fields, of a superblock each: d and dmin (N,) float16; scales and mins (N, groups), whole numbers
    codes (N, 256) uint8, from 0

A code is the place of a value in the type's order: 0 is -4 in Q3_K, -32 in Q6_K.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.gguf.k_quants import IQ4_XS, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K
from llmkit.formats.gguf.simple_write import Codes, Fields, Planes, Stored, folded, planes, rows_of_bytes

_WORD = 0x0101010101010101
"""A byte repeated eight times is this times the byte."""


def write_q2_k(fields: Fields, codes: Codes) -> Stored:
    """16 groups: scales and minima from 0 to 15, codes from 0 to 3."""
    stored = _with_steps(Q2_K, fields)
    stored["scales"] = (_bytes(fields["scales"]) | _bytes(fields["mins"]) << np.uint8(4)).T
    stored["qs"] = rows_of_bytes(folded(planes(codes), 2, 4))
    return stored


def write_q3_k(fields: Fields, codes: Codes) -> Stored:
    """16 groups: scales from -32 to 31, codes from 0 to 7."""
    stored = _with_steps(Q3_K, fields)
    scales = _bytes(fields["scales"], 32)
    low = folded(scales & np.uint8(15), 4, 8)
    stored["scales"] = np.concatenate([low, folded(scales >> np.uint8(4), 2, 4)]).T
    parts = planes(codes)
    stored["qs"] = rows_of_bytes(folded(_low(parts, 3), 2, 4))
    stored["hmask"] = rows_of_bytes(folded(_high(parts, 2, 1), 1, 4))
    return stored


def write_q4_k(fields: Fields, codes: Codes) -> Stored:
    """8 groups: scales and minima from 0 to 63, codes from 0 to 15."""
    stored = _with_steps(Q4_K, fields)
    stored["scales"] = _scales_and_minima(fields)
    stored["qs"] = rows_of_bytes(folded(planes(codes), 4, 4))
    return stored


def write_q5_k(fields: Fields, codes: Codes) -> Stored:
    """8 groups: scales and minima from 0 to 63, codes from 0 to 31."""
    stored = _with_steps(Q5_K, fields)
    stored["scales"] = _scales_and_minima(fields)
    parts = planes(codes)
    stored["qs"] = rows_of_bytes(folded(_low(parts, 15), 4, 4))
    stored["qh"] = rows_of_bytes(folded(_high(parts, 4, 1), 1, 4))
    return stored


def write_q6_k(fields: Fields, codes: Codes) -> Stored:
    """16 groups: scales from -128 to 127, codes from 0 to 63."""
    stored = _with_steps(Q6_K, fields)
    stored["scales"] = fields["scales"]
    parts = planes(codes)
    stored["ql"] = rows_of_bytes(folded(_low(parts, 15), 4, 8))
    stored["qh"] = rows_of_bytes(folded(_high(parts, 4, 3), 2, 4))
    return stored


def write_iq4_xs(fields: Fields, codes: Codes) -> Stored:
    """8 groups: scales from -32 to 31, codes from 0 to 15, places in IQ4_NL's table."""
    stored = _with_steps(IQ4_XS, fields)
    scales = _bytes(fields["scales"], 32)
    stored["scales_l"] = folded(scales & np.uint8(15), 4, 1).T
    stored["scales_h"] = folded(scales >> np.uint8(4), 2, 1).T
    stored["qs"] = rows_of_bytes(folded(planes(codes), 4, 2))
    return stored


def _with_steps(layout: np.dtype[Any], fields: Fields) -> Stored:
    stored = np.empty(len(fields["d"]), layout)
    for name in {"d", "dmin"} & set(fields):
        stored[name] = fields[name]
    return stored


def _bytes(whole: NDArray[Any], more: int = 0) -> NDArray[np.uint8]:
    """Whole numbers of groups, (N, groups), with the superblocks side by side: (groups, N)."""
    return np.ascontiguousarray((whole + more).astype(np.uint8).T)


def _low(parts: NDArray[np.uint64], mask: int) -> Planes:
    return parts & np.uint64(mask * _WORD)


def _high(parts: NDArray[np.uint64], shift: int, mask: int) -> Planes:
    return parts >> np.uint64(shift) & np.uint64(mask * _WORD)


def _scales_and_minima(fields: Fields) -> NDArray[np.uint8]:
    """Eight of 6 bits each in 12 bytes: see `k_quants.scales_and_minima`."""
    scales, mins = _bytes(fields["scales"]), _bytes(fields["mins"])
    two, four, last = np.uint8(2), np.uint8(4), np.uint8(15)
    upper = np.uint8(0xC0)
    parts = [
        scales[:4] | scales[4:] << two & upper,
        mins[:4] | mins[4:] << two & upper,
        scales[4:] & last | mins[4:] << four,
    ]
    return np.concatenate(parts).T
