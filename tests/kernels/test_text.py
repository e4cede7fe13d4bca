"""The functions over the native library alone; what they find is compared in tests/text."""

import numpy as np
import pytest

from llmkit.kernels.library import available
from llmkit.kernels.text import ChunkIndex, WordBuffer, commonest_gram, repeated_grams

pytestmark = pytest.mark.skipif(not available(), reason="the native library is not built")


def test_chunks_are_numbered_as_they_are_first_met() -> None:
    index = ChunkIndex(16)
    assert index.find(b" bb a  bb ") == (3, [1, 2, 4, 1])
    assert index.find(b"a c") == (2, [2, 1])
    assert index.struct.num_rows == 3
    assert index.find(b"") == (0, [])


def test_a_full_index_says_so() -> None:
    assert ChunkIndex(4).find(b"a b") == (2, [0, 1, 2, 1])
    assert ChunkIndex(4).find(b"a b c") is None


def test_words_longer_than_the_buffer_make_it_grow() -> None:
    index, buffer = ChunkIndex(16), WordBuffer()
    parts = [np.array([0], np.int64), np.array([2], np.int64), np.array([7, 8], np.uint64)]
    parts += [np.array([1, 2], np.int64), np.array([3, 4], np.uint16)]
    for name, part in zip(("starts", "counts", "hashes", "lengths", "facts"), parts, strict=True):
        setattr(index.struct, name, part.ctypes.data)
    count, _ = index.find(b"x " * 5000) or (0, [])
    total = buffer.fill(index, count)
    assert total == 10_000 <= buffer.most
    assert buffer.hashes[:total].tolist() == [7, 8] * 5000
    assert buffer.lengths[:total].tolist() == [1, 2] * 5000
    assert buffer.facts[:total].tolist() == [3, 4] * 5000


def test_grams_of_fewer_words_than_one_are_none() -> None:
    one, ends = np.array([5], np.uint64), np.array([0, 1], np.int64)
    assert commonest_gram(one, 2) == (0, 0)
    assert repeated_grams(one, ends, 2) == (0, 0)


def test_repeats_worked_by_hand() -> None:
    words, ends = np.array([1, 2, 1, 2, 1, 2, 3], np.uint64), np.arange(8)
    assert commonest_gram(words, 2) == (3, 0)
    assert repeated_grams(words, ends, 2) == (4, 4)
