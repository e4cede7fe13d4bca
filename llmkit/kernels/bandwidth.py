"""How fast this machine reads its memory: the ceiling of decoding, measured where and when it matters."""

from time import perf_counter

import numpy as np

from llmkit.kernels.library import library
from llmkit.kernels.memory import aligned_bytes


def memory_bandwidth(num_bytes: int = 1 << 28, repeats: int = 5) -> float:
    """Bytes per second of the fastest of `repeats` reads of fresh memory, on all the kernels' threads.

    `num_bytes` should be several times the last cache.
    """
    memory = aligned_bytes(num_bytes // 128 * 128)
    memory[:] = np.uint8(1)
    seconds = []
    for _ in range(repeats):
        start = perf_counter()
        library().llmkit_read_memory(memory.ctypes.data, memory.size)
        seconds.append(perf_counter() - start)
    return memory.size / min(seconds)
