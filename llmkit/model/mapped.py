"""Weights mapped from files, and their memory given back where they are needed no more. No torch."""

import ctypes
import math
import mmap
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from llmkit.model.arrays import cut_short

if TYPE_CHECKING:
    from torch import Tensor

_DONTNEED = 4  # MADV_DONTNEED on Linux: private pages of a file are dropped, and read again where touched


class MappedFiles:
    """Files mapped when something of them is first asked for, private to this process: what is written to an
    array never reaches its file."""

    def __init__(self) -> None:
        self._bytes: dict[Path, NDArray[np.uint8]] = {}

    def array(self, file: Path, offset: int, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Numbers of a file: its own pages, or a copy where they do not begin at a multiple of their size.

        Raises:
            DataError: it is shorter than that.
        """
        if file not in self._bytes:
            with file.open("rb") as stream:
                mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
            self._bytes[file] = np.frombuffer(mapped, np.uint8)
        nbytes = np.dtype(dtype).itemsize * math.prod(shape)
        content = self._bytes[file][offset : offset + nbytes]
        if content.size != nbytes:
            raise cut_short(file)
        array = content.view(dtype).reshape(shape)
        return array if array.flags.aligned else array.copy()

    def forget_pages(self, array: NDArray[Any]) -> int:
        """See `FileMappings.forget_pages`; of arrays that these files gave, whenever that was."""
        begin, end = _whole_pages(array)
        return _drop(begin, end) if any(_lies_in(begin, end, one) for one in self._bytes.values()) else 0


class FileMappings:
    """Where files are mapped into this process, as it was when this was made: listing it takes a millisecond,
    which a model with hundreds of matrices would wait for at each.

    Only for arrays that are older. Each keeps its memory, so what was of a file then is so still; of memory
    that came later nothing is known, and to drop pages of our own would lose them.
    """

    def __init__(self) -> None:
        self._ranges = sorted(_mapped_files()) if sys.platform == "linux" else []

    def forget_pages(self, array: "NDArray[Any] | Tensor") -> int:
        """Drop a mapped array's pages from this process; the system's copy of the file stays. Whoever looks
        at the array again sees the file's numbers, not what was written over them.

        Args:
            array: contiguous, and older than this; one that is not mapped from a file is left alone.

        Returns:
            bytes dropped: whole pages, which no other array has a part in; 0 where the system has no such
            call.
        """
        begin, end = _whole_pages(array)
        return _drop(begin, end) if self._holds(begin, end) else 0

    def _holds(self, begin: int, end: int) -> bool:
        """Whether addresses are those of a mapped file, all of one mapping."""
        place = bisect_right(self._ranges, (begin, sys.maxsize))
        return place > 0 and end <= self._ranges[place - 1][1]


def _whole_pages(array: "NDArray[Any] | Tensor") -> tuple[int, int]:
    """Addresses of the pages that hold nothing else; none where neighbours are apart."""
    if isinstance(array, np.ndarray):
        begin, is_contiguous = array.ctypes.data, array.flags.c_contiguous
    else:
        begin, is_contiguous = array.data_ptr(), array.is_contiguous()
    page, end = mmap.PAGESIZE, begin + array.nbytes
    begin, end = -(-begin // page) * page, end // page * page
    return (begin, end) if is_contiguous and begin < end else (begin, begin)


def _lies_in(begin: int, end: int, mapped: NDArray[np.uint8]) -> bool:
    first = mapped.ctypes.data
    return first <= begin and end <= first + mapped.nbytes


def _drop(begin: int, end: int) -> int:
    """Bytes that went."""
    if begin == end or sys.platform != "linux":
        return 0
    failed = ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _DONTNEED)
    return 0 if failed else end - begin


def _mapped_files() -> Iterator[tuple[int, int]]:
    """Their addresses. proc(5): `7f00-7f08 r--p offset device inode path`."""
    for line in Path("/proc/self/maps").read_bytes().splitlines():
        addresses, _, _, _, inode, *_ = line.split(maxsplit=5)
        if inode != b"0":
            first, last = (int(one, 16) for one in addresses.split(b"-"))
            yield first, last
