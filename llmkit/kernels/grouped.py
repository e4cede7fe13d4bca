"""Matrices of codes packed for the kernels, some rows at a time: memory holds no plain copy of any."""

from ctypes import byref

import numpy as np

from llmkit.kernels.coded import Coded, CodedMatrix, Codes
from llmkit.kernels.library import CodedRowsStruct, finished, library
from llmkit.kernels.memory import aligned_bytes
from llmkit.kernels.packed import PackedWeight, packed_bytes

PIECE_CODES = 1 << 22
"""Codes taken apart at a time, about: they are a byte each, and more while it lasts."""
_PARTS = ("scales", "bases", "factors", "base_factors")


def pack_coded(matrix: CodedMatrix) -> PackedWeight:
    """Pack a matrix, reading it once, in order."""
    rows, cols = matrix.num_rows, matrix.num_cols
    data = aligned_bytes(packed_bytes(matrix.grouping, rows, cols))
    packed = PackedWeight(matrix.grouping, rows, cols, data)
    step = max(16, PIECE_CODES // cols // 16 * 16)
    for first in range(0, rows, step):
        _pack_rows(matrix.read(np.arange(first, min(first + step, rows))), first, packed)
    return packed


def _pack_rows(rows: Coded, first: int, to: PackedWeight) -> None:
    grouping, (count, cols) = rows.grouping, rows.codes.shape
    assert grouping == to.packed_format and cols == to.num_cols and rows.codes.dtype == np.uint8
    groups, spans = -(-cols // grouping.group), -(-cols // grouping.span) if grouping.span else 0
    kept = {"codes": np.ascontiguousarray(rows.codes)}
    if grouping.head:
        length = 64 if grouping.codes is Codes.FLOATS else 4 * cols
        assert len(grouping.head) == length, "a table, or an order"
        kept["head"] = np.frombuffer(grouping.head, np.uint8)
    for name, width in zip(_PARTS, (groups, groups, spans, spans), strict=True):
        part = getattr(rows, name)
        wanted = width and (grouping.based or not name.startswith("base"))
        assert (part is not None) == bool(wanted), f"{name} of {grouping}"
        if part is not None:
            dtype = grouping.float_type if "factors" in name else grouping.scale_type
            assert part.shape == (count, width) and part.dtype == dtype, f"{name} {part.dtype} {part.shape}"
            kept[name] = np.ascontiguousarray(part)
    struct = CodedRowsStruct(**{name: one.ctypes.data for name, one in kept.items()}, first=first, rows=count)
    finished(library().llmkit_pack_coded(byref(struct), byref(to.struct)))
