"""Giving back the memory of weights that were mapped from a file and are needed no more."""

import ctypes
import mmap
import sys
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

_DONTNEED = 4  # MADV_DONTNEED on Linux: private pages of a file are dropped, and read again where touched


class FileMappings:
    """Where files are mapped into this process, as it was when this was made: listing it takes a millisecond,
    which a model with hundreds of matrices would wait for at each.

    Only for tensors that are older. Each keeps its memory, so what was of a file then is so still; of memory
    that came later nothing is known, and to drop pages of our own would lose them.
    """

    def __init__(self) -> None:
        self._ranges = sorted(_mapped_files()) if sys.platform == "linux" else []

    def forget_pages(self, tensor: Tensor) -> int:
        """Drop a mapped tensor's pages from this process; the system's copy of the file stays. Whoever looks
        at the tensor again sees the file's numbers, not what was written over them.

        Args:
            tensor: contiguous, and older than this; one that is not mapped from a file is left alone.

        Returns:
            bytes dropped: whole pages, which no other tensor has a part in; 0 where the system has no such
            call.
        """
        if not tensor.is_contiguous():
            return 0
        page = mmap.PAGESIZE
        begin, end = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
        begin, end = -(-begin // page) * page, end // page * page
        if end <= begin or not self._holds(begin, end):
            return 0
        failed = ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _DONTNEED)
        return 0 if failed else end - begin

    def _holds(self, begin: int, end: int) -> bool:
        """Whether addresses are those of a mapped file, all of one mapping."""
        place = bisect_right(self._ranges, (begin, sys.maxsize))
        return place > 0 and end <= self._ranges[place - 1][1]


def _mapped_files() -> Iterator[tuple[int, int]]:
    """Their addresses. proc(5): `7f00-7f08 r--p offset device inode path`."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, _, _, _, inode, *_ = line.split(maxsplit=5)
        if inode != "0":
            first, last = (int(one, 16) for one in addresses.split("-"))
            yield first, last
