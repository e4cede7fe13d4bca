"""Values in memory as the kernels read them: rows at an address, whoever owns them.

A numpy array becomes `Rows` by `rows_of`. For a torch tensor the caller says
`Rows(tensor.data_ptr(), *tensor.shape, tensor.stride(0), ValueType.BFLOAT16, tensor)`: no torch here.
"""

import mmap
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
_HUGE_PAGE_BYTES = 2 << 20


class ValueType(IntEnum):
    """What a value in memory is; numbers as in native/abi.h."""

    FLOAT32 = 0
    BFLOAT16 = 1
    """Held by numpy as uint16."""
    FLOAT16 = 2
    CODES8 = 3
    """int8 codes; their scales stand elsewhere."""
    BLOCKS_Q8_0 = 4
    """GGUF Q8_0: 34 bytes for 32 weights."""
    BLOCKS_Q4_0 = 5
    """GGUF Q4_0: 18 bytes for 32 weights."""

    def row_bytes(self, values: int) -> int:
        """Bytes of `values` neighbours in a row."""
        if self in (ValueType.BLOCKS_Q8_0, ValueType.BLOCKS_Q4_0):
            return -(-values // 32) * (34 if self is ValueType.BLOCKS_Q8_0 else 18)
        return values * (4, 2, 2, 1)[self]


_NUMPY_TYPES = {
    np.dtype(np.float32): ValueType.FLOAT32,
    np.dtype(np.uint16): ValueType.BFLOAT16,
    np.dtype(np.float16): ValueType.FLOAT16,
    np.dtype(np.int8): ValueType.CODES8,
}


@dataclass(frozen=True)
class Rows:
    """A matrix in memory: `num_rows` rows of `num_cols` neighbours, `stride` values from row to row."""

    address: int
    num_rows: int
    num_cols: int
    stride: int
    value_type: ValueType
    owner: object
    """Kept alive as long as these rows."""


def rows_of(array: NDArray[Any]) -> Rows:
    """A numpy array of one or two dimensions as rows; uint16 means bfloat16.

    Raises:
        TypeError: a type that no kernel reads.
        ValueError: other dimensions, or neighbours of a row that are apart in memory.
    """
    value_type = _NUMPY_TYPES.get(array.dtype)
    if value_type is None:
        raise TypeError(f"no kernel reads {array.dtype}")
    matrix = array[np.newaxis] if array.ndim == 1 else array
    if matrix.ndim != 2:
        raise ValueError(f"rows have two dimensions, not {array.ndim}")
    size = array.dtype.itemsize
    if matrix.size and matrix.shape[1] > 1 and matrix.strides[1] != size:
        raise ValueError("neighbours of a row are apart in memory")
    if matrix.strides[0] % size:
        raise ValueError("rows start within a value")
    return Rows(
        matrix.ctypes.data, matrix.shape[0], matrix.shape[1], matrix.strides[0] // size, value_type, array
    )


def check_floats(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> int:
    """The address of a contiguous float32 array of this shape.

    Raises:
        ValueError: it is another one.
    """
    if array.dtype != np.float32 or array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(f"{name} is {array.dtype} {array.shape}, not contiguous float32 {shape}")
    return array.ctypes.data


def aligned_bytes(count: int) -> NDArray[np.uint8]:
    """`count` fresh bytes, zero, at a page's start; in huge pages where they pay and the system gives
    them."""
    memory = _anonymous(count)
    if count >= _HUGE_PAGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8, count)


def fresh_bytes(count: int) -> NDArray[np.uint8]:
    """`count` fresh bytes, zero, at a page's start. What is not written is not taken, page by page.

    numpy itself asks for huge pages: the first byte of each array would take 2 MiB.
    """
    return np.frombuffer(_anonymous(count), np.uint8, count)


def _anonymous(count: int) -> mmap.mmap:
    """This process's own: pages that could be shared are small ones, whatever is asked for."""
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, max(1, count))
    return mmap.mmap(-1, max(1, count), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
