"""Giving back the memory of weights that were mapped from a file and are needed no more."""

import ctypes
import mmap
import sys
from pathlib import Path

from torch import Tensor

_DONTNEED = 4  # MADV_DONTNEED on Linux: private pages of a file are dropped, and read again where touched


def forget_pages(tensor: Tensor) -> int:
    """Drop a mapped tensor's pages from this process; the system's copy of the file stays. Whoever looks at
    the tensor again sees the file's numbers, not what was written over them.

    Args:
        tensor: contiguous; one that is not mapped from a file is left alone.

    Returns:
        bytes dropped: whole pages, which no other tensor has a part in; 0 where the system has no such call.
    """
    if sys.platform != "linux" or not tensor.is_contiguous():
        return 0
    page = mmap.PAGESIZE
    begin, end = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
    begin, end = -(-begin // page) * page, end // page * page
    if end <= begin or not _is_of_a_file(begin, end):
        return 0
    failed = ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _DONTNEED)
    return 0 if failed else end - begin


def _is_of_a_file(begin: int, end: int) -> bool:
    """Whether addresses are those of a mapped file, all of one mapping: memory of our own would be lost.

    proc(5): `7f00-7f08 r--p offset device inode path`, in order.
    """
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, _, _, _, inode, *_ = line.split(maxsplit=5)
        first, last = (int(one, 16) for one in addresses.split("-"))
        if first <= begin < last:
            return inode != "0" and end <= last
    return False
