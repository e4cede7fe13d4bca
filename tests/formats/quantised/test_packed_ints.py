"""Dense packing against a string of bits."""

import numpy as np
import pytest

from llmkit.formats.quantised.packed_ints import (
    pack_columns,
    pack_rows,
    unpack_columns,
    unpack_rows,
    words_of,
)


def slow_words(row: list[int], bits: int) -> list[int]:
    """Bits written out one by one, the lowest first."""
    stream = "".join(format(code, f"0{bits}b")[::-1] for code in row)
    stream += "0" * (-len(stream) % 32)
    return [int(stream[start : start + 32][::-1], 2) for start in range(0, len(stream), 32)]


@pytest.mark.parametrize("count", [1, 31, 32, 40, 77])
@pytest.mark.parametrize("bits", range(1, 9))
def test_words_are_those_of_a_string_of_bits_and_come_back(bits: int, count: int) -> None:
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (3, count)).astype(np.uint8)
    words = pack_rows(codes, bits)
    assert words.dtype == np.uint32 and words.shape == (3, words_of(count, bits))
    assert words.tolist() == [slow_words(row, bits) for row in codes.tolist()]
    assert np.array_equal(unpack_rows(words, bits, count), codes)
    assert np.array_equal(unpack_rows(words.view(np.int32), bits, count), codes)


def test_columns_are_the_rows_of_the_turned_matrix() -> None:
    codes = np.random.default_rng(0).integers(0, 8, (64, 5)).astype(np.uint8)
    words = pack_columns(codes, 3)
    assert words.shape == (6, 5)
    assert words[:, 2].tolist() == slow_words(codes[:, 2].tolist(), 3)
    assert np.array_equal(unpack_columns(words, 3, 64), codes)


def test_thirty_two_numbers_of_three_bits_straddle_three_words_as_by_hand() -> None:
    # number 10 has bits 30, 31 and 32: its lowest two end the first word, its highest begins the second
    codes = np.zeros((1, 32), np.uint8)
    codes[0, 10] = 0b101
    assert pack_rows(codes, 3).tolist() == [[1 << 30, 1, 0]]
