"""Small whole numbers packed densely, the first in the lowest bits: of one row, or down the rows of a matrix.

Number j of a row has bits j b to j b + b - 1 of the row's words read as one long little-endian number, so
that numbers of 3, 5, 6 or 7 bits straddle words. Eight numbers are b whole bytes: so many are packed at once.

Shapes: R rows, C numbers of a row, W = ceil(C b / 32) words of a row.
"""

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Words = NDArray[np.uint32]


def words_of(count: int, bits: int) -> int:
    """32-bit words that so many numbers fill."""
    return -(-count * bits // 32)


def pack_rows(codes: Codes, bits: int) -> Words:
    """Pack each row.

    Args:
        codes: (R, C), each below 2^bits.
        bits: 1 to 8.

    Returns:
        (R, W); what is left of the last word is 0.
    """
    rows, count = codes.shape
    eights = -(-count // 8)
    padded = np.zeros((rows, 8 * eights), np.uint8)
    padded[:, :count] = codes
    long = np.zeros((rows, eights), "<u8")
    for place in range(8):
        long |= padded[:, place::8].astype("<u8") << np.uint64(bits * place)
    packed = long.view(np.uint8).reshape(rows, eights, 8)[..., :bits].reshape(rows, -1)
    words = words_of(count, bits)
    whole = np.zeros((rows, 4 * words), np.uint8)
    width = min(packed.shape[1], 4 * words)  # eight numbers may reach into a word of nothing but padding
    whole[:, :width] = packed[:, :width]
    return whole.view("<u4").astype(np.uint32, copy=False)


def unpack_rows(words: Words, bits: int, count: int) -> Codes:
    """The first `count` numbers of each row: (R, count).

    Args:
        words: (R, at least `words_of(count, bits)`), of any 32-bit kind.
        bits: 1 to 8.
        count: C.
    """
    rows = len(words)
    eights = -(-count // 8)
    content = np.ascontiguousarray(words).astype("<u4", copy=False).view(np.uint8).reshape(rows, -1)
    width = min(content.shape[1], eights * bits)
    packed = np.zeros((rows, eights * bits), np.uint8)
    packed[:, :width] = content[:, :width]
    codes = np.empty((rows, 8 * eights), np.uint8)
    if 8 % bits == 0:  # none straddles a byte: several times as fast
        for place in range(8 // bits):
            codes[:, place :: 8 // bits] = packed >> (bits * place) & ((1 << bits) - 1)
        return codes[:, :count]
    long = np.zeros((rows, eights, 8), np.uint8)
    long[..., :bits] = packed.reshape(rows, eights, bits)
    numbers = long.view("<u8")[..., 0]
    mask = np.uint64((1 << bits) - 1)
    for place in range(8):
        codes[:, place::8] = (numbers >> np.uint64(bits * place)) & mask
    return codes[:, :count]


def pack_columns(codes: Codes, bits: int) -> Words:
    """Pack each column: (C, R) numbers become (W, R)."""
    return np.ascontiguousarray(pack_rows(np.ascontiguousarray(codes.T), bits).T)


def unpack_columns(words: Words, bits: int, count: int) -> Codes:
    """The first `count` numbers of each column: (W, R) words become (count, R)."""
    return np.ascontiguousarray(unpack_rows(np.ascontiguousarray(words.T), bits, count).T)
