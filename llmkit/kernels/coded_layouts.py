"""Quantised matrices of safetensors files as codes, scales, bases: the same numbers, none of them computed.

GPTQ, AWQ, compressed-tensors and MLX in 2 to 8 bits, and int8. Codes of up to 4 bits take 4 in memory, others
8; scales and bases 16 each a group, or 32 where 16 do not hold them exactly. Not taken, and so plain numbers
in memory: float8 and bitsandbytes' tables, whose values are no small whole numbers, and groups out of order
(GPTQ's desc_act).
Shapes: R rows, C columns, G groups of a row.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.formats import awq, bytewise, compressed_tensors, gptq, mlx_affine
from llmkit.formats.matrix_layout import Array, MatrixLayout
from llmkit.formats.packed_ints import unpack_columns, unpack_rows
from llmkit.kernels.coded import Coded, CodedMatrix, Codes, Grouping, Order
from llmkit.kernels.memory import Floats

Take = Callable[[Order], NDArray[np.uint8]]


def layout_matrix(
    layout: MatrixLayout, parts: Mapping[str, Array], rows: int, columns: int
) -> CodedMatrix | None:
    """A matrix by its tensors; None where the kernels do not take it.

    Args:
        layout: how it is kept.
        parts: by suffix, as for `MatrixLayout.read`.
    """
    match layout:
        case gptq.Gptq():
            return _gptq(layout, parts, rows, columns)
        case awq.Awq():
            packed, middles = parts[awq.CODES], awq.unpack(parts[awq.ZEROS], rows).T
            return _matrix(
                lambda wanted: np.ascontiguousarray(awq.unpack(packed, rows)[:, wanted].T),
                4, parts[awq.SCALE].T, middles.astype(np.int16), (rows, columns),
            )  # fmt: skip
        case compressed_tensors.PackQuantized():
            return _pack_quantized(layout, parts, rows, columns)
        case mlx_affine.MlxAffine():
            words, scales = parts[mlx_affine.CODES], parts[mlx_affine.SCALE]
            zeros = np.zeros(scales.shape, np.int16)
            return _matrix(
                lambda wanted: unpack_rows(words[wanted], layout.bits, columns),
                layout.bits, scales, zeros, (rows, columns), bases=parts[mlx_affine.BIAS],
            )  # fmt: skip
        case bytewise.Bytewise(codes="I8"):
            return _bytewise(layout, parts, rows, columns)
    return None


ORDERS = (gptq.ORDER, compressed_tensors.ORDER)
"""Suffixes of the tensors that say in which order groups are."""


def takes_layout(layout: MatrixLayout, columns: int, order: Array | None) -> bool:
    """Whether the kernels take a matrix, told without reading it.

    Args:
        layout: how it is kept.
        columns: C.
        order: (C,) its tensor of ORDERS, where it has one.
    """
    match layout:
        case gptq.Gptq(group=group) | compressed_tensors.PackQuantized(group=group):
            group = group or columns
            return _is_length(group, columns) and _is_in_order(order, group, columns)
        case awq.Awq(group=group) | mlx_affine.MlxAffine(group=group):
            return _is_length(group or columns, columns)
        case bytewise.Bytewise(codes="I8", block=block):
            return block is None or _is_length(block[1], columns)
    return False


def _is_length(group: int, columns: int) -> bool:
    """Whether the kernels have groups of so many columns."""
    return group == 16 or group % 32 == 0 or group >= columns


def _is_in_order(order: Array | None, group: int, columns: int) -> bool:
    return order is None or np.array_equal(order, np.arange(columns) // group)


def _gptq(layout: gptq.Gptq, parts: Mapping[str, Array], rows: int, columns: int) -> CodedMatrix | None:
    group = layout.group or columns
    if not _is_in_order(parts.get(gptq.ORDER), group, columns):
        return None
    words = parts[gptq.CODES]
    zeros = unpack_rows(parts[gptq.ZEROS], layout.bits, rows).T.astype(np.int16) + layout.less_one
    return _matrix(
        lambda wanted: unpack_rows(words[:, wanted].T, layout.bits, columns),
        layout.bits, parts[gptq.SCALE].T, zeros, (rows, columns), group=group,
    )  # fmt: skip


def _pack_quantized(
    layout: compressed_tensors.PackQuantized, parts: Mapping[str, Array], rows: int, columns: int
) -> CodedMatrix | None:
    scales = parts[compressed_tensors.SCALE]
    if not _is_in_order(parts.get(compressed_tensors.ORDER), layout.group or columns, columns):
        return None
    scales = np.broadcast_to(scales.reshape(1, 1) if scales.ndim < 2 else scales, (rows, scales.shape[-1]))
    zeros = np.full(scales.shape, 1 << (layout.bits - 1), np.int16)
    if not layout.symmetric:
        zeros = unpack_columns(parts[compressed_tensors.ZEROS], layout.bits, rows).astype(np.int16)
    words = parts[compressed_tensors.PACKED]
    return _matrix(
        lambda wanted: unpack_rows(words[wanted], layout.bits, columns),
        layout.bits, scales, zeros, (rows, columns),
    )  # fmt: skip


def _bytewise(
    layout: bytewise.Bytewise, parts: Mapping[str, Array], rows: int, columns: int
) -> CodedMatrix | None:
    codes, scales = parts[bytewise.CODES], parts[layout.scale]
    zeros = parts.get(bytewise.ZEROS)
    if layout.block is None:
        group = columns
        scales = np.broadcast_to(scales.reshape(-1, 1), (rows, 1))
        zeros = None if zeros is None else np.broadcast_to(zeros.reshape(-1, 1), (rows, 1))
    else:
        high, group = layout.block
        scales = scales.repeat(high, 0)[:rows]
        zeros = None if zeros is None else zeros.repeat(high, 0)[:rows]
    middle = np.full(scales.shape, 128, np.int16) if zeros is None else zeros.astype(np.int16) + 128
    return _matrix(
        lambda wanted: codes[wanted].view(np.uint8) ^ np.uint8(128),
        8, scales, middle, (rows, columns), group=group,
    )  # fmt: skip


def _matrix(
    take: Take,
    bits: int,
    scales: NDArray[Any],
    zeros: NDArray[np.int16],
    shape: tuple[int, int],
    *,
    bases: NDArray[Any] | None = None,
    group: int | None = None,
) -> CodedMatrix | None:
    """A matrix of `scale * (code - zero) + base`.

    Args:
        take: some rows' codes, (rows, C), from 0.
        scales: (R, G).
        zeros: (R, G).
        group: columns of each; None: as many as make G alike.
    """
    rows, columns = shape
    length = group or columns // scales.shape[1]
    if scales.shape[1] == 1:
        length = -(-columns // 32) * 32
    elif not _is_length(length, columns):
        return None
    floats = np.ascontiguousarray(scales, np.float32)
    four = bits <= 4
    if bases is None and (zeros == (1 << (bits - 1))).all():
        moved = None
        shift = (8 if four else 128) - (1 << (bits - 1))  # where the kernels have their middle
    else:  # what the code 0 stands for; with 8 bits, the code 128
        shift = 0 if four or bits == 8 else 128
        first = 128 if bits == 8 else 0
        moved = floats * (first - zeros).astype(np.float32)
        if bases is not None:
            moved += bases
    kept = [floats] if moved is None else [floats, moved]
    wide = not all(_is_exact(one) for one in kept)
    codes = Codes.FOURS if four else Codes.EIGHTS
    grouping = Grouping(codes, length, based=moved is not None, wide=wide)
    kept = [one.astype(grouping.float_type) for one in kept]

    def read(wanted: Order) -> Coded:
        return Coded(grouping, take(wanted) + np.uint8(shift), *(one[wanted] for one in kept))

    return CodedMatrix(grouping, rows, columns, read)


def _is_exact(values: Floats) -> bool:
    """Whether float16 holds them."""
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16) == values).all())
