"""Blocks of the IQ types put together by hand: where indices, signs and scales lie."""

import numpy as np
import pytest

from llmkit.formats.gguf import iq_quants as iq
from llmkit.formats.gguf.blocks import LAYOUTS, dequantise
from llmkit.formats.gguf.iq_codebooks import codebook


def block(layout: np.dtype) -> np.ndarray:
    stored = np.zeros(1, layout)
    if "d" in (layout.names or ()):
        stored["d"] = 8
    return stored


def test_seven_signs_make_an_eighth_such_that_minuses_are_even() -> None:
    stored = block(iq.IQ2_XXS)
    stored["groups"]["qs"][0, 3] = [1, 2, 255, 9]
    stored["groups"]["signs"][0, 3] = 0b1 | 0b11 << 7 | 0b1111111 << 14 | 5 << 28
    values = iq.read_iq2_xxs(stored)[0, 96:128].reshape(4, 8)
    signs = np.ones((4, 8))
    signs[0, [0, 7]] = -1
    signs[1, [0, 1]] = -1
    signs[2] = -1
    assert np.array_equal(values, codebook("IQ2_XXS")[[1, 2, 255, 9]] * signs * (8 * 5.5 / 4))


def test_an_index_of_nine_bits_has_its_signs_above_it() -> None:
    stored = block(iq.IQ2_XS)
    stored["qs"][0, 2:4] = [300 | 0b1000000 << 9, 511]
    stored["scales"][0, 0] = 0x72  # groups of 16: the low half first
    values = iq.read_iq2_xs(stored)[0, 16:32].reshape(2, 8)
    expected = codebook("IQ2_XS")[[300, 511]].copy()
    expected[0, [6, 7]] *= -1
    assert np.array_equal(values, expected * (8 * 7.5 / 4))


def test_indices_of_ten_and_nine_bits_have_their_upper_ones_apart() -> None:
    stored = block(iq.IQ2_S)
    stored["qs"][0, 5], stored["qh"][0, 1], stored["signs"][0, 5] = 17, 0b11 << 2, 0b10000001
    values = iq.read_iq2_s(stored)[0, 40:48]
    assert np.array_equal(values, codebook("IQ2_S")[17 + 768] * [-1, 1, 1, 1, 1, 1, 1, -1])
    stored = block(iq.IQ3_S)
    stored["qs"][0, 9], stored["qh"][0, 1], stored["signs"][0, 4] = 3, 0b10, 0b00010000
    stored["scales"][0, 0] = 6 << 4  # the second group of 32
    values = iq.read_iq3_s(stored)[0, 36:40]
    assert np.array_equal(values, codebook("IQ3_S")[3 + 256] * [-1, 1, 1, 1] * (8 * 13))


def test_four_of_iq3_share_a_byte_of_signs_with_the_next_four() -> None:
    stored = block(iq.IQ3_XXS)
    stored["qs"][0, 8:10] = [200, 7]
    stored["signs"][0, 1] = 0b0110000 | 1 << 28
    values = iq.read_iq3_xxs(stored)[0, 32:40]
    expected = codebook("IQ3_XXS")[[200, 7]].reshape(-1) * [1, 1, 1, 1, -1, -1, 1, 1]
    assert np.array_equal(values, expected * (8 * 1.5 / 2))


def test_ternary_numbers_move_by_an_eighth_either_way() -> None:
    stored = block(iq.IQ1_S)
    stored["qs"][0, 4:8] = [1, 2, 3, 4]
    stored["qh"][0, 1] = 7 | 1 << 9 | 3 << 12 | 1 << 15
    values = iq.read_iq1_s(stored)[0, 32:64].reshape(4, 8)
    assert np.array_equal(values, (codebook("IQ1")[[1 + 7 * 256, 2, 3, 4 + 256]] - 0.125) * (8 * 7))
    assert np.array_equal(iq.read_iq1_s(stored)[0, :8], (codebook("IQ1")[0] + 0.125) * 8)


def test_a_scale_in_four_pieces_is_put_together() -> None:
    stored = block(iq.IQ1_M)
    word = int(np.float16(-3.14).view(np.uint16))
    stored["scales"] = [[(word >> 4 * k & 15) << 12 | (5 << 3 if k == 1 else 0) for k in range(4)]]
    stored["qs"][0, 10:12] = [9, 8]
    stored["qh"][0, 5] = 0x5 | 0x8 << 4  # the lower half for the first eight
    values = iq.read_iq1_m(stored)[0, 80:96].reshape(2, 8)
    expected = codebook("IQ1")[[9 + 5 * 256, 8]] + np.array([[0.125], [-0.125]])
    assert np.array_equal(values, expected * np.float32(np.float16(-3.14)) * 11)


@pytest.mark.parametrize("name", sorted(name for name in LAYOUTS if name.startswith(("IQ1", "IQ2", "IQ3"))))
def test_blocks_are_read_by_themselves(name: str) -> None:
    raw = np.random.default_rng(3).integers(0, 256, (5, LAYOUTS[name].itemsize)).astype(np.uint8)
    whole = dequantise(raw, name, (5, 256))
    alone = [dequantise(one, name, (256,)) for one in raw]
    assert np.array_equal(whole, alone, equal_nan=True)
