"""GPTQ's layout, against words worked out by hand and AutoGPTQ's own loop."""

from typing import Any

import numpy as np
import pytest

from llmkit.errors import ConfigError
from llmkit.formats.quantised.gptq import CODES, ORDER, SCALE, ZEROS, Gptq

ROWS, COLUMNS, GROUP = 32, 64, 32


def _made(bits: int, layout: Gptq) -> tuple[Any, Any, Any, dict[str, Any]]:
    rng = np.random.default_rng(bits)
    codes = rng.integers(0, 1 << bits, (ROWS, COLUMNS)).astype(np.uint8)
    zeros = rng.integers(1, 1 << bits, (ROWS, COLUMNS // GROUP)).astype(np.int16)
    scales = rng.normal(size=(COLUMNS // GROUP, ROWS)).astype(np.float32)
    return codes, zeros, scales, layout.write(codes, zeros) | {SCALE: scales}


def _slow_read(parts: dict[str, Any], bits: int, less_one: int) -> Any:
    """AutoGPTQ's QuantLinear for 2, 4 and 8 bits: shifts of whole words, one number after the other."""
    per_word, mask = 32 // bits, (1 << bits) - 1
    values = np.empty((ROWS, COLUMNS), np.float32)
    words, zero_words = parts[CODES].view(np.uint32), parts[ZEROS].view(np.uint32)
    for row in range(ROWS):
        for column in range(COLUMNS):
            group = parts[ORDER][column]
            code = int(words[column // per_word, row]) >> bits * (column % per_word) & mask
            zero = (int(zero_words[group, row // per_word]) >> bits * (row % per_word) & mask) + less_one
            values[row, column] = parts[SCALE][group, row] * np.float32(code - zero)
    return values


@pytest.mark.parametrize("less_one", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_numbers_are_those_of_autogptqs_loop(bits: int, less_one: bool) -> None:
    layout = Gptq(bits, GROUP, less_one)
    codes, zeros, scales, parts = _made(bits, layout)
    shapes = {suffix: part.shape for suffix, part in parts.items()}
    assert shapes == {part.suffix: part.shape for part in layout.parts(ROWS, COLUMNS, "F16")}
    assert layout.shape(shapes, {}) == (ROWS, COLUMNS)
    values = layout.read(parts, ROWS, COLUMNS)
    assert np.array_equal(values, _slow_read(parts, bits, int(less_one)))
    spread = zeros.repeat(GROUP, 1)
    assert np.array_equal(values, scales.T.repeat(GROUP, 1) * (codes.astype(np.float32) - spread))


def test_three_bits_straddle_words_down_the_inputs() -> None:
    layout = Gptq(3, GROUP)
    codes, zeros, scales, parts = _made(3, layout)
    column = parts[CODES].view(np.uint32)[:3, 4].tolist()  # the first 32 inputs of output 4
    stream = sum(word << 32 * place for place, word in enumerate(column))
    assert [stream >> 3 * place & 7 for place in range(32)] == codes[4, :32].tolist()
    expected = scales.T.repeat(GROUP, 1) * (codes.astype(np.float32) - zeros.repeat(GROUP, 1))
    assert np.array_equal(layout.read(parts, ROWS, COLUMNS), expected)


def test_symmetric_codes_have_the_zero_points_that_every_program_writes() -> None:
    codes = np.zeros((ROWS, COLUMNS), np.uint8)
    assert set(Gptq(4, GROUP).write(codes, None)[ZEROS].view(np.uint32).flat) == {0x77777777}
    assert set(Gptq(8, GROUP, less_one=False).write(codes, None)[ZEROS].view(np.uint32).flat) == {0x80808080}


def test_inputs_in_order_of_activation_have_the_groups_that_g_idx_says() -> None:
    layout = Gptq(4, GROUP)
    _, _, _, parts = _made(4, layout)
    parts[ORDER] = np.random.default_rng(3).permutation(parts[ORDER])
    assert np.array_equal(layout.read(parts, ROWS, COLUMNS), _slow_read(parts, 4, 1))


def test_shapes_that_do_not_fit_are_told() -> None:
    layout = Gptq(4, GROUP)
    shapes = {CODES: (8, 32), ZEROS: (2, 4), SCALE: (2, 32), ORDER: (64,)}
    assert layout.shape(shapes, {}) == (ROWS, COLUMNS)
    assert layout.shape(shapes | {SCALE: (3, 32)}, {}) is None
    assert layout.shape(shapes | {ORDER: (63,)}, {}) is None
    with pytest.raises(ConfigError, match="GPTQ cannot hold 4 bits in groups of 32 of 64 inputs, 20 outputs"):
        layout.parts(20, 64, "F16")
