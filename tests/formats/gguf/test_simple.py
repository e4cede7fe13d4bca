"""Blocks of one scale, worked by hand from ggml's structs."""

import numpy as np
import pytest

from llmkit.errors import DataError
from llmkit.formats.gguf import simple
from llmkit.formats.gguf.simple import spread, write_q8_0


def half(value: float) -> bytes:
    return np.float16(value).tobytes()


LOW_HIGH = bytes(16 * (15 - n) + n for n in range(16))
"""Low halves 0 to 15, high halves 15 to 0."""
CODES = np.array([*range(16), *range(15, -1, -1)], dtype=np.float32)


def one(layout: np.dtype, *parts: bytes) -> np.ndarray:
    return np.frombuffer(b"".join(parts), layout)


def test_low_halves_come_first_then_high_ones() -> None:
    assert spread(np.frombuffer(LOW_HIGH, np.uint8)[None], 4, 16).tolist() == [CODES.tolist()]


def test_runs_follow_each_other() -> None:
    packed = np.array([[0b11100100, 0b00011011]], dtype=np.uint8)
    assert spread(packed, 2, 1).tolist() == [[0, 1, 2, 3, 3, 2, 1, 0]]
    assert spread(packed, 2, 2).tolist() == [[0, 3, 1, 2, 2, 1, 3, 0]]


def test_four_bits_are_counted_from_eight_or_from_a_minimum() -> None:
    assert np.array_equal(simple.read_q4_0(one(simple.Q4_0, half(0.5), LOW_HIGH))[0], (CODES - 8) / 2)
    stored = one(simple.Q4_1, half(0.5), half(-3), LOW_HIGH)
    assert np.array_equal(simple.read_q4_1(stored)[0], CODES / 2 - 3)


def test_bits_are_signs_and_twos_are_counted_from_one() -> None:
    packed = bytes([0b11100100, *bytes(15)])
    values = simple.read_q1_0(one(simple.Q1_0, half(0.5), packed))[0]
    assert np.array_equal(2 * values[:8], [-1, -1, 1, -1, -1, 1, 1, 1]) and (2 * values[8:] == -1).all()
    values = simple.read_q2_0(one(simple.Q2_0, half(0.5), packed))[0]
    assert np.array_equal(2 * values[:4], [-1, 0, 1, 2]) and len(values) == 64


def test_the_fifth_bit_is_worth_sixteen() -> None:
    mask = (0b1010 << 28 | 1).to_bytes(4, "little")  # values 0, 29 and 31
    fifth = np.zeros(32, dtype=np.float32)
    fifth[[0, 29, 31]] = 16
    stored = one(simple.Q5_0, half(2), mask, LOW_HIGH)
    assert np.array_equal(simple.read_q5_0(stored)[0], 2 * (CODES + fifth - 16))
    stored = one(simple.Q5_1, half(2), half(1), mask, LOW_HIGH)
    assert np.array_equal(simple.read_q5_1(stored)[0], 2 * (CODES + fifth) + 1)


def test_eight_bits_are_signed() -> None:
    codes = np.arange(-128, 128, 8, dtype=np.int8)
    stored = one(simple.Q8_0, half(0.25), codes.tobytes())
    assert np.array_equal(simple.read_q8_0(stored)[0], codes / np.float32(4))


def test_a_code_of_iq4_nl_looks_up_its_table() -> None:
    values = simple.read_iq4_nl(one(simple.IQ4_NL, half(1), LOW_HIGH))[0]
    assert values[:16].tolist() == simple.IQ4_VALUES.tolist() == values[:15:-1].tolist()
    assert (values[0], values[8], values[15]) == (-127, 1, 113)


@pytest.mark.parametrize(("exponent", "scale"), [(0, 2.0**-127), (1, 2.0**-126), (127, 1.0), (130, 8.0)])
def test_mxfp4_is_a_power_of_two_times_a_float_of_four_bits(exponent: int, scale: float) -> None:
    # e2m1: 1 bit of fraction, 2 of exponent with bias 1, and the sign
    table = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]
    values = simple.read_mxfp4(one(simple.MXFP4, bytes([exponent]), LOW_HIGH))[0]
    assert values[:16].tolist() == [scale * entry for entry in table]


def test_a_quarter_of_an_nvfp4_block_has_its_own_scale() -> None:
    scales = bytes([0x38, 0x40, 0x01, 0x7F])  # 1, 2, 2 ** -9 and not a number
    values = simple.read_nvfp4(one(simple.NVFP4, scales, b"\x22" * 32))[0]  # all codes are 1.0
    assert values.reshape(4, 16)[:, 0].tolist() == values.reshape(4, 16)[:, 15].tolist() == [1, 2, 2**-9, 0]


def test_q8_0_rounds_halves_away_from_zero() -> None:
    values = np.zeros((1, 32), dtype=np.float32)
    values[0, :7] = [127, 0.5, -0.5, 1.5, 2.5, -2.5, 0.49999997]  # the scale is 1
    stored = write_q8_0(values)
    assert stored["d"].tolist() == [1]
    assert stored["qs"][0, :8].tolist() == [127, 1, -1, 2, 3, -3, 0, 0]


def test_a_block_of_zeros_or_of_almost_nothing_is_zero_in_q8_0() -> None:
    stored = write_q8_0(np.repeat(np.float32([[0], [1e-44]]), 32, axis=1))
    assert not stored.tobytes().strip(b"\0")


@pytest.mark.parametrize(
    ("value", "problem"), [(np.nan, "not a number"), (np.inf, "infinite"), (1e8, "scale")]
)
def test_q8_0_refuses_what_it_cannot_hold(value: float, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        write_q8_0(np.full((1, 32), value, dtype=np.float32))
