"""Weights packed once for the kernels: 16 output rows side by side, in float32, bfloat16, int8 or int4.

int8 and int4 are rounded in groups of 32 columns with a float16 scale, exactly as GGUF's Q8_0 and Q4_0 (8.5
and 4.5 bits a weight), or taken as they are from such blocks, or from codes and scales. The packed bytes hold
no address: they can be kept in a file and mapped back. Layouts: native/abi.h.
"""

from collections.abc import Callable, Sequence
from ctypes import byref
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.coded import Grouping
from llmkit.kernels.library import WeightStruct, finished, library
from llmkit.kernels.memory import Rows, ValueType, aligned_bytes, rows_of

GROUP = 32
"""Columns that share a scale."""
_BLOCK_ROWS = 16
_PIECE_VALUES = 1 << 22
"""Packed at a time, about."""


class PackedFormat(IntEnum):
    """How packed weights are kept; numbers as in native/abi.h."""

    FLOAT32 = 0
    BFLOAT16 = 1
    INT8 = 2
    INT4 = 3


ROUNDED_FORMATS = {"int8": PackedFormat.INT8, "int4": PackedFormat.INT4}
"""Those that weights are rounded to, as --weights calls them."""


@dataclass(frozen=True)
class PackedWeight:
    """A weight (num_rows outputs, num_cols inputs), ready to multiply."""

    packed_format: PackedFormat | Grouping
    num_rows: int
    num_cols: int
    data: NDArray[np.uint8]
    struct: WeightStruct = field(init=False, repr=False, compare=False)
    """What the library reads; `byref(struct)` is its address."""

    def __post_init__(self) -> None:
        wanted = packed_bytes(self.packed_format, self.num_rows, self.num_cols)
        if self.data.dtype != np.uint8 or self.data.ndim != 1 or self.data.size != wanted:
            raise ValueError(f"a packed weight of {wanted} bytes, not {self.data.dtype} {self.data.shape}")
        if not self.data.flags.c_contiguous or self.data.ctypes.data % 64:
            raise ValueError("packed bytes start at a multiple of 64 and have no gaps")
        struct = _struct(self.packed_format, self.num_rows, self.num_cols)
        struct.data = self.data.ctypes.data
        object.__setattr__(self, "struct", struct)

    @property
    def rounds_inputs(self) -> bool:
        """Whether a product with it rounds what it is given to int8, in groups of 32."""
        kept = self.packed_format
        return not kept.is_widened if isinstance(kept, Grouping) else kept in ROUNDED_FORMATS.values()


def packed_bytes(packed_format: PackedFormat | Grouping, num_rows: int, num_cols: int) -> int:
    """Bytes of a packed weight: rows padded to 16, columns to 2 (bfloat16) or 64 (most of codes)."""
    if num_rows < 1 or num_cols < 1:
        raise ValueError(f"a weight has at least one row and one column, not {num_rows} by {num_cols}")
    return int(library().llmkit_packed_bytes(byref(_struct(packed_format, num_rows, num_cols))))


def _struct(packed_format: PackedFormat | Grouping, num_rows: int, num_cols: int) -> WeightStruct:
    """What the library is told, but for where it is."""
    if isinstance(packed_format, PackedFormat):
        return WeightStruct(packed_format, 0, num_rows, num_cols)
    group, span, wide = packed_format.group, packed_format.span, packed_format.wide
    return WeightStruct(packed_format.number, group, num_rows, num_cols, None, span, wide, packed_format.kind)


def pack(
    weight: NDArray[Any] | Rows,
    packed_format: PackedFormat,
    *,
    scales: NDArray[np.float16] | None = None,
) -> PackedWeight:
    """Pack a row-major weight.

    Args:
        weight: (rows, cols) float32, float16 or bfloat16 (as uint16); for INT8 and INT4 also int8 codes
            (-128..127, -8..7), or rows of GGUF blocks (INT8 from Q8_0 or Q4_0, INT4 from Q4_0; `num_cols`
            and `stride` then count weights).
        scales: (rows, ceil(cols / 32)), for codes only.

    Raises:
        ValueError: kinds that do not go together, or codes without their scales.
    """
    rows = weight if isinstance(weight, Rows) else rows_of(weight)
    integer = packed_format in (PackedFormat.INT8, PackedFormat.INT4)
    coded = rows.value_type >= ValueType.CODES8
    if coded and not integer:
        raise ValueError(f"{packed_format.name} is not packed from {rows.value_type.name}")
    if rows.value_type is ValueType.BLOCKS_Q8_0 and packed_format is PackedFormat.INT4:
        raise ValueError("INT4 is not packed from BLOCKS_Q8_0")
    scale_address = scale_stride = 0
    if rows.value_type is ValueType.CODES8:
        wanted = (rows.num_rows, -(-rows.num_cols // GROUP))
        if scales is None or scales.dtype != np.float16 or scales.shape != wanted:
            raise ValueError(f"int8 codes come with float16 scales {wanted}")
        scales = np.ascontiguousarray(scales)
        scale_address, scale_stride = scales.ctypes.data, wanted[1]
    elif scales is not None:
        raise ValueError("only int8 codes come with scales")
    packed = _empty(packed_format, rows.num_rows, rows.num_cols)
    _pack(rows, packed.struct, scale_address, scale_stride)
    return packed


def pack_below(
    parts: Sequence[NDArray[Any]],
    packed_format: PackedFormat,
    done: Callable[[NDArray[Any]], object] = lambda piece: None,
) -> PackedWeight:
    """Pack matrices below each other, some rows at a time, so that what is packed can be let go.

    Args:
        parts: each (rows, cols) float32, float16 or bfloat16 (as uint16), row-major.
        packed_format: see above.
        done: told of rows that are packed.
    """
    if any(len(part) % _BLOCK_ROWS for part in parts[:-1]):
        joined = np.concatenate(parts)
        for part in parts:
            done(part)
        parts, done = [joined], lambda piece: None
    cols = parts[0].shape[1]
    packed = _empty(packed_format, sum(map(len, parts)), cols)
    step, first = max(1, _PIECE_VALUES // cols // _BLOCK_ROWS) * _BLOCK_ROWS, 0
    for part in parts:
        for begin in range(0, len(part), step):
            piece = part[begin : begin + step]
            struct = _struct(packed_format, len(piece), cols)
            skipped = packed_bytes(packed_format, first, cols) if first else 0
            struct.data = packed.data.ctypes.data + skipped
            _pack(rows_of(piece), struct)
            first += len(piece)
            done(piece)
    return packed


def _empty(packed_format: PackedFormat, num_rows: int, num_cols: int) -> PackedWeight:
    data = aligned_bytes(packed_bytes(packed_format, num_rows, num_cols))
    return PackedWeight(packed_format, num_rows, num_cols, data)


def _pack(rows: Rows, to: WeightStruct, scale_address: int = 0, scale_stride: int = 0) -> None:
    stride_bytes = rows.value_type.row_bytes(rows.stride)
    finished(
        library().llmkit_pack(
            rows.value_type, rows.address, stride_bytes, scale_address, scale_stride, byref(to)
        )
    )
