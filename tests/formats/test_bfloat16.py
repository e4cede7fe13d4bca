"""bfloat16 by hand: what its bits say, and which of two neighbours a float32 goes to."""

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.bfloat16 import nearest, widened


def floats(*bits: int) -> NDArray[np.float32]:
    return np.array(bits, np.uint32).view(np.float32)


def test_bits_are_the_upper_half_of_a_float32() -> None:
    stored = np.array([0x3F80, 0xC000, 0x7F80, 0x0001, 0x8000], np.uint16)
    assert widened(stored).tolist() == [1.0, -2.0, np.inf, 2.0**-133, 0.0]
    assert np.signbit(widened(stored)).tolist() == [False, True, False, False, True]


def test_a_tie_goes_to_the_even_number_and_all_else_to_the_nearest() -> None:
    between = floats(0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0x00008000, 0x00018000)
    assert nearest(between).tolist() == [0x3F80, 0x3F82, 0x3F80, 0x3F81, 0x0000, 0x0002]


def test_what_is_beyond_becomes_infinite_and_a_nan_stays_one() -> None:
    found = nearest(floats(0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0x7F800001, 0xFFFFFFFF))
    assert found.tolist() == [0x7F80, 0xFF80, 0x7F80, 0x7FC0, 0xFFFF]


def test_the_shape_stays_whatever_it_is() -> None:
    for shape in ((), (0, 3), (2, 3, 4)):
        assert widened(nearest(np.ones(shape, np.float32))).shape == shape
    assert widened(nearest(np.ones((4, 6), np.float32)[::2, ::3])).tolist() == [[1, 1], [1, 1]]
