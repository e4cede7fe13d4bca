"""Reading memory: that all of it is read, and that a figure comes out. No speed is asserted."""

import numpy as np
import pytest

from llmkit.kernels.bandwidth import memory_bandwidth
from llmkit.kernels.library import library
from llmkit.kernels.memory import aligned_bytes

pytestmark = pytest.mark.usefixtures("native")


def test_every_word_is_read_once(random: np.random.Generator) -> None:
    memory = aligned_bytes((3 << 20) + 128)
    memory[:] = random.integers(0, 256, memory.size, dtype=np.uint8)
    found = library().llmkit_read_memory(memory.ctypes.data, memory.size)
    assert found == int(memory.view(np.uint32).sum(dtype=np.uint32))


def test_the_bandwidth_is_bytes_per_second() -> None:
    assert 1e6 < memory_bandwidth(1 << 22, repeats=2) < 1e13
