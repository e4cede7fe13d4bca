"""What native/quantise.h declares, for ctypes."""

from ctypes import Structure, c_int32, c_int64, c_void_p


class SearchStruct(Structure):
    """Search of native/quantise.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("weight", "importance", "table", "step", "base", "codes")),
        *((name, c_int64) for name in ("groups", "width", "importance_rows")),
        *((name, c_int32) for name in ("kind", "type", "low", "high", "trials", "below_zero")),
        *((name, c_int32) for name in ("table_size", "halves")),
    ]


class NeighboursStruct(Structure):
    """Neighbours of native/quantise.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("weight", "importance", "table", "step_unit", "base_unit")),
        *((name, c_void_p) for name in ("scale", "minimum", "new_scale", "new_minimum", "sums")),
        *((name, c_int64) for name in ("groups", "width", "importance_rows")),
        *((name, c_int32) for name in ("type", "table_size", "low", "high")),
    ]


class BlocksStruct(Structure):
    """Blocks of native/quantise.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("codes", "d", "m", "out")),
        ("count", c_int64),
        ("bits", c_int32),
    ]


class LatticeStruct(Structure):
    """Lattice of native/quantise.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("step", "base", "table")),
        ("groups", c_int64),
        *((name, c_int32) for name in ("group", "table_size")),
    ]


class CodingStruct(Structure):
    """Coding of native/quantise.h."""

    _fields_ = [
        ("lattice", LatticeStruct),
        *((name, c_void_p) for name in ("values", "codes")),
        *((name, c_int64) for name in ("rows", "cols", "values_stride", "codes_stride", "first")),
    ]


class FeedbackStruct(Structure):
    """Feedback of native/quantise.h."""

    _fields_ = [
        ("lattice", LatticeStruct),
        *((name, c_void_p) for name in ("weight", "original", "factor", "columns", "errors", "codes")),
        *((name, c_int64) for name in ("rows", "count", "weight_stride", "original_stride")),
        *((name, c_int64) for name in ("factor_stride", "codes_stride")),
    ]
