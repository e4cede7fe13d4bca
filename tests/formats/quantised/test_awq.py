"""AWQ's gemm layout, against AutoAWQ's own way to unpack."""

import numpy as np
import pytest

from llmkit.errors import ConfigError
from llmkit.formats.quantised.awq import CODES, SCALE, ZEROS, Awq

ROWS, COLUMNS, GROUP = 24, 64, 32
REVERSE = (0, 4, 1, 5, 2, 6, 3, 7)
"""AutoAWQ's AWQ_REVERSE_ORDER: where the numbers of a word come to stand."""


def test_numbers_are_those_of_autoawqs_loop() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 16, (ROWS, COLUMNS)).astype(np.uint8)
    zeros = rng.integers(0, 16, (ROWS, 2)).astype(np.int16)
    scales = rng.normal(size=(2, ROWS)).astype(np.float32)
    layout = Awq(GROUP)
    parts = layout.write(codes, zeros) | {SCALE: scales}
    shapes = {suffix: part.shape for suffix, part in parts.items()}
    assert shapes == {part.suffix: part.shape for part in layout.parts(ROWS, COLUMNS, "F16")}
    assert layout.shape(shapes, {}) == (ROWS, COLUMNS)
    unpacked = {}
    for suffix in (CODES, ZEROS):
        words = parts[suffix].view(np.uint32)
        numbers = (words[:, :, None] >> np.arange(0, 32, 4, dtype=np.uint32)) & 15  # (n, R / 8, 8)
        unpacked[suffix] = numbers[..., list(REVERSE)].reshape(len(words), -1)
    assert np.array_equal(unpacked[CODES].T, codes) and np.array_equal(unpacked[ZEROS].T, zeros)
    expected = scales.T.repeat(GROUP, 1) * (codes.astype(np.float32) - zeros.repeat(GROUP, 1))
    assert np.array_equal(layout.read(parts, ROWS, COLUMNS), expected)


def test_a_word_is_as_by_hand() -> None:
    codes = np.arange(8, dtype=np.uint8).reshape(8, 1).repeat(8, 1)  # output n has the code n everywhere
    word = Awq(8).write(codes, None)[CODES].view(np.uint32)[0, 0]
    assert word == 0x75316420  # nibbles, the lowest first: 0 2 4 6 1 3 5 7


def test_shapes_that_do_not_fit_are_told() -> None:
    shapes = {CODES: (64, 3), ZEROS: (2, 3), SCALE: (2, 24)}
    assert Awq(32).shape(shapes, {}) == (ROWS, COLUMNS)
    assert Awq(64).shape(shapes, {}) is None
    with pytest.raises(ConfigError, match="AWQ cannot hold groups of 32 of 64 inputs, 20 outputs"):
        Awq(32).parts(20, 64, "F16")
