"""Arrays as rows, and fresh memory; none of it needs the library."""

import numpy as np
import pytest

from llmkit.kernels.memory import ValueType, aligned_bytes, check_floats, rows_of


def test_rows_know_their_stride_in_values() -> None:
    matrix = np.zeros((6, 10), np.float16)
    rows = rows_of(matrix[::2, 2:7])
    assert (rows.num_rows, rows.num_cols, rows.stride) == (3, 5, 20)
    assert rows.value_type is ValueType.FLOAT16
    assert rows.address == matrix.ctypes.data + 4


def test_a_vector_is_one_row_and_uint16_is_bfloat16() -> None:
    rows = rows_of(np.zeros(7, np.uint16))
    assert (rows.num_rows, rows.num_cols, rows.value_type) == (1, 7, ValueType.BFLOAT16)


def test_what_no_kernel_reads_is_refused() -> None:
    with pytest.raises(TypeError, match="float64"):
        rows_of(np.zeros(3))
    with pytest.raises(ValueError, match="apart in memory"):
        rows_of(np.zeros((4, 4), np.float32).T)
    with pytest.raises(ValueError, match="two dimensions"):
        rows_of(np.zeros((1, 1, 1), np.float32))
    with pytest.raises(ValueError, match="weight is float32"):
        check_floats("weight", np.zeros(3, np.float32), (4,))


def test_gguf_blocks_have_their_published_sizes() -> None:
    assert ValueType.BLOCKS_Q8_0.row_bytes(64) == 2 * 34
    assert ValueType.BLOCKS_Q4_0.row_bytes(64) == 2 * 18
    assert ValueType.BFLOAT16.row_bytes(64) == 128


@pytest.mark.parametrize("count", [0, 1, 100, 5 << 20])
def test_fresh_memory_is_zero_aligned_and_writable(count: int) -> None:
    memory = aligned_bytes(count)
    assert memory.size == count
    if count:
        assert memory.ctypes.data % 64 == 0
        assert not memory.any()
        memory[:] = 255
