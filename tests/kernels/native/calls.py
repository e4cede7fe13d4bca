"""The library's kernels one by one, for tests and benchmarks: llmkit itself calls whole passes.

Nothing is checked. Shapes: B sequences, N query rows of all sequences together, H query heads, K key/value
heads, E head_dim.
"""

from ctypes import CDLL, POINTER, Structure, byref, c_bool, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.forward_structs import Activation
from llmkit.kernels.library import WeightStruct, finished, library
from llmkit.kernels.memory import Floats, Rows, rows_of
from llmkit.kernels.packed import PackedWeight

Ints = NDArray[np.int32]


class AttentionStruct(Structure):
    """Attention of native/abi.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("q", "out", "k", "v", "k_scale", "v_scale")),
        *((name, c_void_p) for name in ("block_table", "query_start", "lengths", "sinks")),
        *((name, c_int64) for name in ("q_stride", "out_stride", "k_block", "k_token", "k_head")),
        *((name, c_int64) for name in ("v_block", "v_token", "v_head")),
        *((name, c_int64) for name in ("scale_block", "scale_token", "scale_head", "table_stride")),
        *((name, c_int32) for name in ("kv_type", "block_size", "sequences", "heads", "kv_heads")),
        *((name, c_int32) for name in ("key_dim", "value_dim", "window", "chunked")),
        *((name, c_float) for name in ("scale", "softcap")),
    ]


_i32, _i64, _f32, _at = c_int32, c_int64, c_float, c_void_p
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "llmkit_coded_row": (POINTER(WeightStruct), _i64, _at),
    "llmkit_matmul": (POINTER(WeightStruct), _i32, _at, _i64, _i64, _at, _i32, _at, _i64),
    "llmkit_rms_norm": (_at, _at, _at, _i64, _i64, _i64, _i64, _f32, _f32),
    "llmkit_rotary": (_at, _at, _at, _at, _i64, _i64, _i32, _i32, _i32),
    "llmkit_gated": (_i32, _at, _at, _at, _i64, _i64, _i64, _i64, _i64),
    "llmkit_attention": (POINTER(AttentionStruct),),
    "llmkit_keep": (_at, _at, _at, _at, _i64, _i32, _i32, _i32),
}


@cache
def _native() -> CDLL:
    native = library()
    for name, arguments in _SIGNATURES.items():
        function = getattr(native, name)
        function.restype, function.argtypes = None if name == "llmkit_coded_row" else c_bool, arguments
    return native


def coded_row(weight: PackedWeight, row: int) -> Floats:
    """One row of a packed matrix of codes as numbers, (num_cols)."""
    values = np.empty(weight.num_cols, np.float32)
    _native().llmkit_coded_row(byref(weight.struct), row, values.ctypes.data)
    return values


def matmul(
    weight: PackedWeight,
    x: NDArray[Any] | Rows,
    *,
    bias: Floats | None = None,
    out: Floats | None = None,
    accumulate: bool = False,
) -> Floats:
    """x: (rows, num_cols) float32 or bfloat16 (as uint16). Returns (rows, num_rows) float32.

    Args:
        bias: (num_rows), added.
        out: where the result goes, instead of a new array; its rows may stand apart.
        accumulate: add to what `out` holds.
    """
    rows = x if isinstance(x, Rows) else rows_of(x)
    out = np.empty((rows.num_rows, weight.num_rows), np.float32) if out is None else out
    finished(
        _native().llmkit_matmul(
            *(byref(weight.struct), rows.value_type, rows.address, rows.stride, rows.num_rows),
            *(_address(bias), accumulate, out.ctypes.data, rows_of(out).stride),
        )
    )
    return out


def rms_norm(x: Floats, weight: Floats | None, *, epsilon: float, offset: float = 0.0) -> Floats:
    """x / sqrt(mean(x^2) + epsilon) * (offset + weight), for each row; no weight: no factor at all."""
    rows, out = rows_of(x), np.empty(x.shape, np.float32)
    sizes = (rows.num_rows, rows.num_cols, rows.stride, rows.num_cols)
    finished(
        _native().llmkit_rms_norm(rows.address, _address(weight), out.ctypes.data, *sizes, epsilon, offset)
    )
    return out


def rotate(x: Floats, cosine: Floats, sine: Floats, positions: Ints, *, head_dim: int) -> None:
    """Turn each head of x (rows, heads * head_dim) by its position, in place.

    cosine, sine: (P, R / 2) tables, for pairs (i, i + R/2) of the first R values of a head.
    """
    rows = rows_of(x)
    finished(
        _native().llmkit_rotary(
            *(rows.address, cosine.ctypes.data, sine.ctypes.data, positions.ctypes.data),
            *(rows.num_rows, rows.stride, rows.num_cols // head_dim, head_dim, 2 * cosine.shape[1]),
        )
    )


def gate(gates: Floats, up: Floats, activation: Activation, *, out: Floats | None = None) -> Floats:
    """activation(gates) * up, value by value; `out` may be either operand."""
    left, right = rows_of(gates), rows_of(up)
    out = np.empty(gates.shape, np.float32) if out is None else out
    target = rows_of(out)
    finished(
        _native().llmkit_gated(
            *(activation, left.address, right.address, target.address, left.num_rows, left.num_cols),
            *(left.stride, right.stride, target.stride),
        )
    )
    return out


@dataclass(frozen=True)
class Cache:
    """Keys and values of one layer: (blocks, block_size, K, E), any strides, E contiguous.

    Without a block table, block b belongs to sequence b.
    """

    k: NDArray[Any]
    """float32, bfloat16 (as uint16) or int8 codes."""
    v: NDArray[Any]
    """The same kind; its E may differ from k's."""
    k_scale: Floats | None = None
    """(blocks, block_size, K): int8 codes times this are the keys."""
    v_scale: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class AttentionOptions:
    """What differs between families; see native/abi.h."""

    scale: float
    softcap: float = 0.0
    window: int = 0
    chunked: bool = False
    sinks: Floats | None = None


def attention(
    q: Floats,
    cache: Cache,
    lengths: Ints,
    options: AttentionOptions,
    *,
    block_table: Ints | None = None,
    query_start: Ints | None = None,
) -> Floats:
    """Softmax attention, in float32. Returns (N, H, E of v).

    Args:
        q: (N, H, E), contiguous.
        lengths: (B) cached positions of each sequence, the new ones included.
        block_table: (B, blocks at most) numbers of blocks of the cache, in order.
        query_start: (B + 1) where each sequence's query rows start in q; None is one row for each. A
            sequence's last row sees all its positions, the one before it one fewer, and so on.
    """
    out = np.empty((*q.shape[:2], cache.v.shape[3]), np.float32)
    struct = AttentionStruct(
        *(q.ctypes.data, out.ctypes.data, cache.k.ctypes.data, cache.v.ctypes.data),
        *map(_address, (cache.k_scale, cache.v_scale, block_table, query_start, lengths, options.sinks)),
        *(q.shape[1] * q.shape[2], q.shape[1] * cache.v.shape[3]),
        *(*_strides(cache.k), *_strides(cache.v), *_strides(cache.k_scale)),
        0 if block_table is None else block_table.shape[1],
        *(_kind(cache.k), cache.k.shape[1], lengths.size, q.shape[1], cache.k.shape[2]),
        *(q.shape[2], cache.v.shape[3], options.window, options.chunked),
        *(options.scale, options.softcap),
    )
    finished(_native().llmkit_attention(byref(struct)))
    return out


def keep(new: Floats, memory: NDArray[Any], places: Ints, scales: Floats | None = None) -> None:
    """Put new keys or values into a cache of one layer, in its type.

    Args:
        new: (places, K, E), contiguous.
        memory: (positions, K, E) float32, bfloat16 (as uint16) or int8, contiguous.
        places: positions of memory.
        scales: (positions, K) of int8 codes.
    """
    finished(
        _native().llmkit_keep(
            *(new.ctypes.data, memory.ctypes.data, _address(scales), places.ctypes.data),
            *(len(places), *memory.shape[1:], _kind(memory)),
        )
    )


def _kind(array: NDArray[Any]) -> int:
    return rows_of(array.reshape(-1)[:0]).value_type


def _strides(array: NDArray[Any] | None) -> tuple[int, ...]:
    """Of blocks, tokens and heads, in values; zeros for no array."""
    return (0, 0, 0) if array is None else tuple(one // array.itemsize for one in array.strides[:3])


def _address(array: NDArray[Any] | None) -> int | None:
    return None if array is None else array.ctypes.data
