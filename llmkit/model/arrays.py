"""Layout work on numpy's arrays and torch's tensors alike: what they do under different names. No torch."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from llmkit.errors import DataError
from llmkit.kernels.memory import fresh_bytes

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", NDArray[Any], "Tensor")
_LARGE_BYTES = 1 << 20


def fresh(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Memory for a large array, in pages of the usual size.

    numpy asks for huge ones, which a system whose free memory is in pieces takes seconds to put together.
    """
    kind = np.dtype(dtype)
    nbytes = math.prod(shape) * kind.itemsize
    if nbytes < _LARGE_BYTES:
        return np.empty(shape, kind)
    return fresh_bytes(nbytes).view(kind).reshape(shape)


def filled(
    shape: Sequence[int], dtype: DTypeLike, pieces: Iterable[NDArray[Any]], source: Path
) -> NDArray[Any]:
    """An array from pieces of it, in order, whatever their shape.

    Raises:
        DataError: they do not fill it: the source was cut after its header was read.
    """
    array = fresh(shape, dtype)
    place, begin = array.reshape(-1), 0
    for piece in pieces:
        place[begin : begin + piece.size] = piece.reshape(-1)
        begin += piece.size
    if begin != place.size:
        raise cut_short(source)
    return array


def cut_short(source: Path) -> DataError:
    """A file that has become shorter than its header says."""
    return DataError(f"{source}: was cut short while it was read", hint="fetch or write the file again")


def empty(shape: Sequence[int], like: Array) -> Array:
    """Memory for an array of another's dtype, where that is."""
    return fresh(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_empty(tuple(shape))


def compact(array: Array) -> Array:
    """With neighbours side by side in memory: the array itself, where they are."""
    if not isinstance(array, np.ndarray):
        return array.contiguous()
    if array.flags.c_contiguous:
        return array
    copy = fresh(array.shape, array.dtype)
    copy[...] = array
    return copy


def joined(parts: Sequence[Array], axis: int = 0) -> Array:
    """Parts one behind the other along an axis, in memory of their own."""
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    whole, begin = empty(shape, parts[0]), 0
    for part in parts:
        end = begin + part.shape[axis]
        whole[(slice(None),) * axis + (slice(begin, end),)] = part
        begin = end
    return whole


def divided(array: Array, rows: Sequence[int]) -> list[Array]:
    """Runs of so many rows each, in their order: views."""
    parts, begin = [], 0
    for count in rows:
        parts.append(array[begin : begin + count])
        begin += count
    return parts
