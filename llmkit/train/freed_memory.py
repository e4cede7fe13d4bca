"""Memory that training frees and needs again in the next update."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Of glibc's malloc.h: bytes free at the heap's end that are given back, those from which a block lies
outside the heap, and how many such blocks there may be."""
_GLIBCS_OWN = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 128 << 10, _TRIM_THRESHOLD: 128 << 10}
_LARGE = 1 << 20
"""Bytes from which a block is given back at once, where that is asked for."""


@contextmanager
def freed_memory_kept(*, small_only: bool = False) -> Iterator[None]:
    """Let glibc keep what is freed for what comes next; afterwards the system gets it back.

    Large blocks are else mapped anew each time, and the system clears every page of them at its first use: in
    an update of 100M parameters on a CPU, of logits, embeddings and their gradients, a tenth of the time.
    Other C libraries stay as they are.

    Args:
        small_only: blocks of a MiB and more go back at once: for layers that compute again. What these free
            else lies in pieces between gradients and inputs that stay, so that the next large block finds no
            room, and the heap grows with the layers: little or nothing is saved.
    """
    malloc = ctypes.CDLL(None)
    if not hasattr(malloc, "mallopt"):
        yield
        return
    if small_only:
        malloc.mallopt(_MMAP_THRESHOLD, _LARGE)  # glibc else raises it to the largest block that is freed
    else:
        malloc.mallopt(_MMAP_MAX, 0)
    malloc.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        for option, value in _GLIBCS_OWN.items():
            malloc.mallopt(option, value)
        malloc.malloc_trim(0)
