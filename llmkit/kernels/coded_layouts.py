"""Quantised matrices of safetensors files as codes, scales, bases: the same numbers, none of them computed.

GPTQ, AWQ, compressed-tensors and MLX in 2 to 8 bits, int8, float8, MXFP4, bitsandbytes' tables. Codes of up
to 4 bits take 4 in memory, others 8; scales and bases 16 each a group, or 32 where 16 do not hold them
exactly. float8, tables of floats and groups out of order (GPTQ's desc_act) are widened as they are
multiplied; others are multiplied as whole numbers. Not taken, and so plain numbers in memory: groups of
odd lengths, float8 with zero points, blocks that share fewer than 16 columns with rows.
Shapes: R rows, C columns, G groups of a row.
"""

from collections.abc import Callable, Mapping
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.formats import bytewise
from llmkit.formats.quantised import awq, bnb_4bit, compressed_tensors, gptq, mlx_affine, mxfp4
from llmkit.formats.quantised.matrix_layout import Array, MatrixLayout
from llmkit.formats.quantised.packed_ints import unpack_columns, unpack_rows
from llmkit.kernels.coded import Coded, CodedMatrix, Codes, Grouping, Order
from llmkit.kernels.coded_gguf import gguf_matrix
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
        case bytewise.Bytewise():
            return _bytewise(layout, parts, rows, columns)
        case bnb_4bit.Bnb4Bit():
            return _bnb_4bit(layout, parts, rows, columns)
        case mxfp4.Mxfp4():
            return gguf_matrix(mxfp4.ggml_blocks(parts), "MXFP4", rows, columns)
    return None


_ORDERS = (gptq.ORDER, compressed_tensors.ORDER)
TELLING = (*_ORDERS, *bnb_4bit.STATES, bytewise.ZEROS)
"""Suffixes of the tensors, small ones, that say whether the kernels take a matrix."""
_SHORTEST = 16
"""Columns of a group, at least, where blocks run on over the ends of rows."""


def takes_layout(layout: MatrixLayout, columns: int, told: Mapping[str, Array]) -> bool:
    """Whether the kernels take a matrix, told without reading it.

    Args:
        layout: how it is kept.
        columns: C.
        told: its tensors of TELLING, by suffix.
    """
    match layout:
        case gptq.Gptq(group=group) | compressed_tensors.PackQuantized(group=group):
            group = group or columns
            order = _order(told)
            if order is None or _is_in_order(order, group, columns):
                return _is_length(group, columns)
            return np.array_equal(np.sort(order), np.arange(columns) // group) and not group % 2
        case awq.Awq(group=group) | mlx_affine.MlxAffine(group=group):
            return _is_length(group or columns, columns)
        case bytewise.Bytewise(codes="I8", block=block):
            return block is None or _is_length(block[1], columns)
        case bytewise.Bytewise(codes="F8_E4M3"):
            return not told.get(bytewise.ZEROS, np.zeros(0)).any()
        case bnb_4bit.Bnb4Bit():
            return gcd(bnb_4bit.state_of(told).blocksize, columns) >= _SHORTEST
        case mxfp4.Mxfp4():
            return True
    return False


def widened_key(layout: MatrixLayout, columns: int, told: Mapping[str, Array]) -> tuple[object, ...] | None:
    """What matrices have in common that become one, where their codes are made into float32 as they are
    multiplied; None where they are not. By what `takes_layout` is given.
    """
    match layout:
        case gptq.Gptq(group=group) | compressed_tensors.PackQuantized(group=group):
            head = _head(told, group or columns, columns)
            return (group, head) if head else None
        case bytewise.Bytewise(codes="F8_E4M3", block=block):
            return (columns if block is None else block[1],)
        case bnb_4bit.Bnb4Bit():
            kind = next(suffix for suffix in bnb_4bit.STATES if suffix in told)
            return (gcd(bnb_4bit.state_of(told).blocksize, columns), kind)
    return None


def _order(parts: Mapping[str, Array]) -> Array | None:
    """The group of each column, where a matrix has it."""
    return next((parts[suffix] for suffix in _ORDERS if suffix in parts), None)


def _is_length(group: int, columns: int) -> bool:
    """Whether the kernels have groups of so many columns."""
    return group == 16 or group % 32 == 0 or group >= columns


def _is_in_order(order: Array, group: int, columns: int) -> bool:
    return np.array_equal(order, np.arange(columns) // group)


def _head(parts: Mapping[str, Array], group: int, columns: int) -> bytes:
    """The columns, group by group, where they are not in order."""
    order = _order(parts)
    if order is None or _is_in_order(order, group, columns):
        return b""
    return order.argsort(kind="stable").astype(np.int32).tobytes()


def _gptq(layout: gptq.Gptq, parts: Mapping[str, Array], rows: int, columns: int) -> CodedMatrix | None:
    group = layout.group or columns
    words = parts[gptq.CODES]
    zeros = unpack_rows(parts[gptq.ZEROS], layout.bits, rows).T.astype(np.int16) + layout.less_one
    return _matrix(
        lambda wanted: unpack_rows(words[:, wanted].T, layout.bits, columns),
        layout.bits, parts[gptq.SCALE].T, zeros, (rows, columns), group=group,
        head=_head(parts, group, columns),
    )  # fmt: skip


def _pack_quantized(
    layout: compressed_tensors.PackQuantized, parts: Mapping[str, Array], rows: int, columns: int
) -> CodedMatrix | None:
    scales = parts[compressed_tensors.SCALE]
    scales = np.broadcast_to(scales.reshape(1, 1) if scales.ndim < 2 else scales, (rows, scales.shape[-1]))
    zeros = np.full(scales.shape, 1 << (layout.bits - 1), np.int16)
    if not layout.symmetric:
        zeros = unpack_columns(parts[compressed_tensors.ZEROS], layout.bits, rows).astype(np.int16)
    words = parts[compressed_tensors.PACKED]
    return _matrix(
        lambda wanted: unpack_rows(words[wanted], layout.bits, columns),
        layout.bits, scales, zeros, (rows, columns), head=_head(parts, layout.group or columns, columns),
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
    if layout.codes == "F8_E4M3":
        return _widened(Codes.E4M3, lambda wanted: codes[wanted], scales, group, (rows, columns))
    middle = np.full(scales.shape, 128, np.int16) if zeros is None else zeros.astype(np.int16) + 128
    return _matrix(
        lambda wanted: codes[wanted].view(np.uint8) ^ np.uint8(128),
        8, scales, middle, (rows, columns), group=group,
    )  # fmt: skip


def _bnb_4bit(
    layout: bnb_4bit.Bnb4Bit, parts: Mapping[str, Array], rows: int, columns: int
) -> CodedMatrix | None:
    """Blocks run on over the ends of rows: a row's groups are what it shares with every other."""
    state = bnb_4bit.state_of(parts)
    group = gcd(state.blocksize, columns)
    steps = layout.steps(parts, state).repeat(state.blocksize // group)[: rows * columns // group]
    packed = parts[bnb_4bit.CODES].reshape(-1)

    def take(wanted: Order) -> NDArray[np.uint8]:
        first = wanted[:, None] * columns + np.arange(columns)
        return packed[first // 2] >> np.where(first % 2, 0, 4).astype(np.uint8) & np.uint8(15)

    head = parts[bnb_4bit.TABLE].astype(np.float32).tobytes()
    return _widened(Codes.FLOATS, take, steps.reshape(rows, -1), group, (rows, columns), head)


def _widened(
    codes: Codes, take: Take, scales: NDArray[Any], group: int, shape: tuple[int, int], head: bytes = b""
) -> CodedMatrix:
    """A matrix of codes that stand for floats."""
    floats = np.ascontiguousarray(scales, np.float32)
    grouping = Grouping(codes, group, wide=not _is_exact(floats), head=head)
    kept = floats.astype(grouping.float_type)
    return CodedMatrix(grouping, *shape, lambda wanted: Coded(grouping, take(wanted), kept[wanted]))


def _matrix(
    take: Take,
    bits: int,
    scales: NDArray[Any],
    zeros: NDArray[np.int16],
    shape: tuple[int, int],
    *,
    bases: NDArray[Any] | None = None,
    group: int | None = None,
    head: bytes = b"",
) -> CodedMatrix | None:
    """A matrix of `scale * (code - zero) + base`.

    Args:
        take: some rows' codes, (rows, C), from 0.
        scales: (R, G).
        zeros: (R, G).
        group: columns of each; None: as many as make G alike.
        head: see `Grouping`.
    """
    rows, columns = shape
    length = group or columns // scales.shape[1]
    if scales.shape[1] == 1:
        length = -(-columns // 32) * 32
    elif not head and not _is_length(length, columns):
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
    grouping = Grouping(codes, length, based=moved is not None, wide=wide, head=head)
    kept = [one.astype(grouping.float_type) for one in kept]

    def read(wanted: Order) -> Coded:
        taken = take(wanted) if grouping.order is None else take(wanted)[:, grouping.order]
        return Coded(grouping, taken + np.uint8(shift), *(one[wanted] for one in kept))

    return CodedMatrix(grouping, rows, columns, read)


def _is_exact(values: Floats) -> bool:
    """Whether float16 holds them."""
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16) == values).all())
