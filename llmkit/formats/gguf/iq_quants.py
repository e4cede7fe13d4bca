"""ggml's superblocks of 256 numbers out of a codebook, 8 or 4 at a time, each group with a small scale, read.

    stored (N,) of the block's layout, values (N, 256) float32

IQ2 and IQ3 have magnitudes in their codebooks, and signs apart; IQ1 has -1, 0 and 1, and moves all eight by
an eighth. A layout repeats the C struct of ggml/src/ggml-common.h, and values are equal bit for bit to those
of ggml-quants.c: a float16 times a few bits is exact in float32, so the order of factors does not matter.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.gguf.iq_codebooks import codebook
from llmkit.formats.gguf.simple import column, spread

Stored = NDArray[Any]
Floats = NDArray[np.float32]

IQ1_S = np.dtype([("d", "<f2"), ("qs", "u1", 32), ("qh", "<u2", 8)])
IQ1_M = np.dtype([("qs", "u1", 32), ("qh", "u1", 16), ("scales", "<u2", 4)])
IQ2_XXS = np.dtype([("d", "<f2"), ("groups", [("qs", "u1", 4), ("signs", "<u4")], 8)])
IQ2_XS = np.dtype([("d", "<f2"), ("qs", "<u2", 32), ("scales", "u1", 8)])
IQ2_S = np.dtype([("d", "<f2"), ("qs", "u1", 32), ("signs", "u1", 32), ("qh", "u1", 8), ("scales", "u1", 8)])
IQ3_XXS = np.dtype([("d", "<f2"), ("qs", "u1", 64), ("signs", "<u4", 8)])
IQ3_S = np.dtype([("d", "<f2"), ("qs", "u1", 64), ("qh", "u1", 8), ("signs", "u1", 32), ("scales", "u1", 4)])

_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_SIGNS = 1 - 2 * _BITS.astype(np.float32)
"""Of eight bits: minus where one is set."""
_SEVEN_SIGNS = _SIGNS[np.arange(128) + 128 * (_BITS[:128].sum(axis=1, dtype=np.int64) % 2)]
"""Of seven, the eighth such that the number of minuses is even."""
_DELTA = np.float32(0.125)


def read_iq1_s(stored: Stored) -> Floats:
    """8 groups: a scale of 3 bits and where they move; indices of 11 bits."""
    high = stored["qh"]
    above = _fields(high, (0, 3, 6, 9), 7).reshape(-1, 32)
    values = codebook("IQ1").take(stored["qs"] | above << 8, axis=0).reshape(-1, 8, 32)
    values += np.where(high >> 15, -_DELTA, _DELTA)[..., None]
    return _scaled(column(stored["d"]), 2 * (high >> 12 & 7) + 1, values)


def read_iq1_m(stored: Stored) -> Floats:
    """16 groups: a scale of 3 bits; indices of 11 bits, each with where it moves. The float16 is spread over
    what the small scales leave of their words."""
    words, high = stored["scales"], spread(stored["qh"], 4, 1)
    d = np.bitwise_or.reduce(words >> 12 << np.array([0, 4, 8, 12], np.uint16), axis=1).view(np.float16)
    values = codebook("IQ1").take(stored["qs"] | (high & np.uint8(7)).astype(np.uint16) << 8, axis=0)
    values += np.where(high >> np.uint8(3), -_DELTA, _DELTA)[..., None]
    return _scaled(column(d), 2 * _fields(words, (0, 3, 6, 9), 7).reshape(-1, 16) + 1, values)


def read_iq2_xxs(stored: Stored) -> Floats:
    """8 groups: a scale of 4 bits, seven signs of each eight numbers; indices of 8 bits."""
    groups = stored["groups"]
    values = _signed("IQ2_XXS", groups["qs"], _SEVEN_SIGNS, _sevens(groups["signs"]))
    return _scaled(column(stored["d"]), _halves(groups["signs"] >> 28, 4), values)


def read_iq2_xs(stored: Stored) -> Floats:
    """16 groups: a scale of 4 bits; indices of 9 bits, each with seven signs."""
    words = stored["qs"]
    values = _signed("IQ2_XS", words & 511, _SEVEN_SIGNS, words >> 9)
    return _scaled(column(stored["d"]), _halves(spread(stored["scales"], 4, 1), 4), values)


def read_iq2_s(stored: Stored) -> Floats:
    """16 groups: a scale of 4 bits; indices of 10 bits, and all signs."""
    above = spread(stored["qh"], 2, 1).astype(np.uint16)
    values = _signed("IQ2_S", stored["qs"] | above << 8, _SIGNS, stored["signs"])
    return _scaled(column(stored["d"]), _halves(spread(stored["scales"], 4, 1), 4), values)


def read_iq3_xxs(stored: Stored) -> Floats:
    """8 groups: a scale of 4 bits, seven signs of each eight numbers; indices of 8 bits."""
    values = _signed("IQ3_XXS", stored["qs"], _SEVEN_SIGNS, _sevens(stored["signs"]))
    return _scaled(column(stored["d"]), _halves(stored["signs"] >> 28, 2), values)


def read_iq3_s(stored: Stored) -> Floats:
    """8 groups: a scale of 4 bits; indices of 9 bits, and all signs."""
    above = spread(stored["qh"], 1, 1).astype(np.uint16)
    values = _signed("IQ3_S", stored["qs"] | above << 8, _SIGNS, stored["signs"])
    return _scaled(column(stored["d"]), 2 * spread(stored["scales"], 4, 1) + np.uint8(1), values)


def _fields(words: NDArray[Any], shifts: tuple[int, ...], mask: int) -> NDArray[Any]:
    """Fields of words, lowest first: (N, words, fields)."""
    return words[..., None] >> np.array(shifts, words.dtype) & words.dtype.type(mask)


def _sevens(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Four times seven bits of each word: (N, words, 4)."""
    return _fields(words, (0, 7, 14, 21), 127)


def _halves(scales: NDArray[Any], divisor: int) -> Floats:
    """A half more than the scale, in units of the superblock's quarter or half."""
    return (scales.astype(np.float32) + np.float32(0.5)) / np.float32(divisor)


def _signed(name: str, codes: NDArray[Any], table: Floats, signs: NDArray[Any]) -> Floats:
    """Magnitudes out of a codebook, times signs out of a table of eight: (256 N / 8, 8)."""
    values = codebook(name).take(codes.reshape(-1), axis=0).reshape(-1, 8)
    values *= table.take(signs.reshape(-1), axis=0)
    return values


def _scaled(d: Floats, scales: NDArray[Any], values: Floats) -> Floats:
    """d: (N, 1); scales: (N, groups); values: 256 N."""
    groups = values.reshape(*scales.shape, -1)
    return ((d * scales.astype(np.float32))[..., None] * groups).reshape(len(d), -1)
