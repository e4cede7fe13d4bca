"""Memory that training frees and needs again in the next update."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Of glibc's malloc.h: bytes free at the heap's end that are given back, and blocks outside the heap."""
_GLIBCS_OWN = {_MMAP_MAX: 65536, _TRIM_THRESHOLD: 128 << 10}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let glibc keep what is freed for what comes next; afterwards the system gets it back.

    Large blocks are else mapped anew each time, and the system clears every page of them at its first use: in
    an update of 100M parameters on a CPU, of logits, embeddings and their gradients, a tenth of the time.
    Other C libraries stay as they are.
    """
    malloc = ctypes.CDLL(None)
    if not hasattr(malloc, "mallopt"):
        yield
        return
    malloc.mallopt(_MMAP_MAX, 0)
    malloc.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        for option, value in _GLIBCS_OWN.items():
            malloc.mallopt(option, value)
        malloc.malloc_trim(0)
