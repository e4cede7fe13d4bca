"""Weights to codes in one go with the search for their steps, and codes to the bytes of ggml's plain blocks.

Shapes: M groups, g weights of a group, P rows of importance, N codes, B blocks.
"""

from ctypes import byref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.library import finished, library
from llmkit.kernels.memory import Floats
from llmkit.kernels.quantise import EVEN, EVEN_WITH_BASE, TABLE, Codes, searched
from llmkit.kernels.quantise_structs import BlocksStruct

_BLOCK = 32


def encode(
    weight: NDArray[Any], importance: Floats | None, table: Floats, trials: int, *, with_base: bool
) -> tuple[Floats, Floats | None, Codes]:
    """Steps, bases, and the codes of the values nearest to the weights.

    Args:
        weight, importance: as for `even_scale`.
        table: (N,) ascending: the value of each code in steps.
        trials: as for `even_scale`.
        with_base: whether groups have a base, of any sign; the table is of whole numbers from 0 then.

    Returns:
        (M,) steps and (M,) bases, half-precision numbers in float32, and (M, g) codes.

    Raises:
        ValueError: arrays of other kinds.
    """
    low, high = int(table[0]), int(table[-1])
    even = bool((np.diff(table) == 1).all())
    kind = EVEN_WITH_BASE if with_base else EVEN if even else TABLE
    step, base, codes = searched(weight, importance, kind, low, high, trials, table=table, coded=True)
    assert codes is not None
    return step, base if with_base else None, codes


def block_bytes(
    codes: Codes, d: NDArray[np.float16], m: NDArray[np.float16] | None, bits: int
) -> NDArray[np.uint8]:
    """Blocks of 32 codes as ggml's files have them: (B, bytes of a block).

    Args:
        codes: (B, 32) contiguous, none beyond the bits.
        d: (B,) each block's step.
        m: (B,) each block's base; None where the type has none.
        bits: 4 of Q4_0, Q4_1 and IQ4_NL, 5 of Q5_0 and Q5_1, 8 of Q8_0.

    Raises:
        ValueError: arrays of other kinds, or other bits.
    """
    blocks = len(codes)
    fields = [d] if m is None else [d, m]
    if codes.dtype != np.uint8 or codes.shape != (blocks, _BLOCK) or not codes.flags.c_contiguous:
        raise ValueError(f"codes are contiguous uint8 (B, {_BLOCK}), not {codes.dtype} {codes.shape}")
    if bits not in (4, 5, 8) or any(one.dtype != np.float16 or one.shape != (blocks,) for one in fields):
        raise ValueError(f"{bits} bits, or fields that are no float16 of {blocks} blocks")
    fields = [np.ascontiguousarray(one) for one in fields]
    out = np.empty((blocks, 2 * len(fields) + _BLOCK * bits // 8), np.uint8)
    struct = BlocksStruct(
        *(codes.ctypes.data, fields[0].ctypes.data, None if m is None else fields[1].ctypes.data),
        *(out.ctypes.data, blocks, bits),
    )
    finished(library().llmkit_blocks(byref(struct)))
    return out
