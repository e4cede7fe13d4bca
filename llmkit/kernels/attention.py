"""Causal attention of new positions over a key/value cache, contiguous or in blocks.

Shapes: B sequences, N query rows of all sequences together, H query heads, K key/value heads, E head_dim.
"""

from ctypes import byref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.library import AttentionStruct, finished, library
from llmkit.kernels.memory import Floats, ValueType, check_floats, rows_of

Ints = NDArray[np.int32]


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

    def __post_init__(self) -> None:
        coded = self.k.dtype == np.int8
        if self.k.ndim != 4 or self.k.shape[:3] != self.v.shape[:3] or self.k.dtype != self.v.dtype:
            raise ValueError(f"k is {self.k.dtype} {self.k.shape}, v {self.v.dtype} {self.v.shape}")
        for scale in (self.k_scale, self.v_scale):
            if (scale is not None) != coded:
                raise ValueError("int8 codes, and only they, come with scales")
            if scale is not None and (scale.shape != self.k.shape[:3] or scale.dtype != np.float32):
                raise ValueError(f"scales are {scale.dtype} {scale.shape}, not float32 {self.k.shape[:3]}")
        if coded and _strides(self.k_scale) != _strides(self.v_scale):
            raise ValueError("the scales of keys and values have different strides")


@dataclass(frozen=True, kw_only=True)
class AttentionOptions:
    """What differs between families."""

    scale: float
    softcap: float = 0.0
    """Scores become softcap * tanh(score / softcap); 0 is off."""
    window: int = 0
    """A query sees this many positions at most, itself included; 0 is all."""
    chunked: bool = False
    """Windows stand side by side, and a query sees its own from its beginning on."""
    sinks: Floats | None = None
    """(H) logits that take part in the softmax and carry no value."""


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

    Raises:
        ValueError: shapes that do not go together, or a length beyond the cache.
    """
    _check(q, cache, lengths, options, block_table, query_start)
    out = np.empty((*q.shape[:2], cache.v.shape[3]), np.float32)
    k_strides, v_strides, scale_strides = _strides(cache.k), _strides(cache.v), _strides(cache.k_scale)
    struct = AttentionStruct(
        *(q.ctypes.data, out.ctypes.data, cache.k.ctypes.data, cache.v.ctypes.data),
        *(_address(one) for one in (cache.k_scale, cache.v_scale)),
        *(_address(one) for one in (block_table, query_start, lengths, options.sinks)),
        *(q.shape[1] * q.shape[2], q.shape[1] * cache.v.shape[3]),
        *(*k_strides[:3], *v_strides[:3], *scale_strides[:3]),
        *(0 if block_table is None else block_table.shape[1],),
        *(_value_type(cache.k), cache.k.shape[1], lengths.size, q.shape[1], cache.k.shape[2]),
        *(q.shape[2], cache.v.shape[3], options.window, options.chunked),
        *(options.scale, options.softcap),
    )
    attention_of(struct)
    return out


def keep(new: Floats, memory: NDArray[Any], places: Ints, scales: Floats | None = None) -> None:
    """Put new keys or values into a cache of one layer, in its type.

    bfloat16 is rounded to the nearest. int8 codes are multiples of a head's largest number's 127th part, ties
    to even; below 2^-100 a head is 0, and one with a number that is not finite gets the scale NaN.

    Args:
        new: (N, K, E), contiguous.
        memory: (P, K, E) float32, bfloat16 (as uint16) or int8, contiguous.
        places: (N) positions of memory.
        scales: (P, K) of int8 codes.

    Raises:
        ValueError: shapes or types that do not go together, or a place outside the memory.
    """
    kind = _value_type(memory)
    check_floats("new", new, (len(places), *memory.shape[1:]))
    if scales is not None:
        check_floats("scales", scales, memory.shape[:2])
    if (scales is not None) != (kind is ValueType.CODES8) or not memory.flags.c_contiguous:
        raise ValueError("memory is contiguous, and has scales where it holds int8 codes")
    if places.dtype != np.int32 or not places.flags.c_contiguous:
        raise ValueError("places are contiguous int32")
    if places.size and not 0 <= places.min() <= places.max() < len(memory):
        raise ValueError(f"a place outside the {len(memory)} positions of the memory")
    finished(
        library().llmkit_keep(
            *(new.ctypes.data, memory.ctypes.data, _address(scales), places.ctypes.data),
            *(len(places), *memory.shape[1:], kind),
        )
    )


def attention_of(struct: AttentionStruct) -> None:
    """The same from a filled struct, for memory that is not numpy's; nothing is checked."""
    finished(library().llmkit_attention(byref(struct)))


def _check(
    q: Floats,
    cache: Cache,
    lengths: Ints,
    options: AttentionOptions,
    block_table: Ints | None,
    query_start: Ints | None,
) -> None:
    blocks, block_size, kv_heads, key_dim = cache.k.shape
    if q.dtype != np.float32 or q.ndim != 3 or q.shape[2] != key_dim or q.shape[1] % kv_heads:
        raise ValueError(f"q is {q.dtype} {q.shape}, k {cache.k.shape}")
    for name, ints in (("lengths", lengths), ("block_table", block_table), ("query_start", query_start)):
        if ints is not None and (ints.dtype != np.int32 or not ints.flags.c_contiguous):
            raise ValueError(f"{name} is not contiguous int32")
    if not q.flags.c_contiguous:
        raise ValueError("q is not contiguous")
    if options.sinks is not None and (
        options.sinks.shape != (q.shape[1],) or options.sinks.dtype != np.float32
    ):
        raise ValueError(f"sinks are float32 ({q.shape[1]},)")
    counts = np.ones(lengths.size, np.int64) if query_start is None else np.diff(query_start)
    first = 0 if query_start is None or not query_start.size else int(query_start[0])
    if counts.size != lengths.size or first != 0 or int(counts.sum()) != q.shape[0] or (counts < 0).any():
        raise ValueError(f"{q.shape[0]} query rows do not belong to {lengths.size} sequences")
    if (lengths < counts).any():
        raise ValueError("a sequence is shorter than its new positions")
    room = block_size if block_table is None else block_table.shape[1] * block_size
    if lengths.size and int(lengths.max()) > room:
        raise ValueError(f"a length of {int(lengths.max())} in room for {room}")
    if block_table is None:
        if lengths.size > blocks:
            raise ValueError(f"{lengths.size} sequences in {blocks} blocks")
        return
    if block_table.shape[0] != lengths.size:
        raise ValueError(f"a block table of {block_table.shape[0]} sequences, not {lengths.size}")
    used = np.arange(block_table.shape[1]) < -(-lengths[:, None] // block_size)
    if ((block_table < 0) | (block_table >= blocks))[used].any():
        raise ValueError(f"a block outside the cache's {blocks}")


def _value_type(array: NDArray[Any]) -> ValueType:
    kind = rows_of(array.reshape(-1)[:0]).value_type
    if kind is ValueType.FLOAT16:
        raise ValueError("a cache is float32, bfloat16 or int8, not float16")
    return kind


def _strides(array: NDArray[Any] | None) -> tuple[int, ...]:
    """In values; zeros for no array."""
    if array is None:
        return (0, 0, 0)
    strides = tuple(stride // array.itemsize for stride in array.strides)
    if array.ndim == 4 and array.shape[3] > 1 and strides[3] != 1:
        raise ValueError("the values of a head are apart in memory")
    return strides


def _address(array: NDArray[Any] | None) -> int | None:
    return None if array is None else array.ctypes.data
