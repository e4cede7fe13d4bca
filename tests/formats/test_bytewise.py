"""A byte a number, against torch's float8."""

import numpy as np
import torch

from llmkit.formats.bytewise import CODES, E4M3, E4M3_BYTES, SCALE, SCALE_INV, ZEROS, Bytewise


def test_every_byte_of_float8_is_torchs_number() -> None:
    theirs = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float().numpy()
    assert np.array_equal(E4M3, theirs, equal_nan=True)


def test_codes_are_all_values_once_in_order() -> None:
    values = E4M3[E4M3_BYTES]
    assert len(values) == 253 and (np.diff(values) > 0).all()
    assert set(values) == set(E4M3[np.isfinite(E4M3)])
    assert Bytewise().write(np.array([[0, 126, 252]], np.uint8), None)[CODES].tolist() == [[0xFE, 0, 0x7E]]


def test_scales_are_for_a_matrix_a_row_or_a_block() -> None:
    codes = np.full((3, 5), 0x38, np.uint8)  # 1.0
    one = Bytewise().read({CODES: codes, SCALE: np.array([2.0], np.float32)}, 3, 5)
    assert (one == 2).all()
    rows = Bytewise().read({CODES: codes, SCALE: np.array([[1.0], [2.0], [3.0]], np.float32)}, 3, 5)
    assert rows[:, 4].tolist() == [1, 2, 3]
    blocks = Bytewise(block=(2, 4), inverse=True)
    scale = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    assert blocks.shape({CODES: (3, 5), SCALE_INV: (2, 2)}, {}) == (3, 5)
    assert blocks.shape({CODES: (3, 5), SCALE_INV: (2, 3)}, {}) is None
    values = blocks.read({CODES: codes, SCALE_INV: scale}, 3, 5)
    assert values.tolist() == [[1, 1, 1, 1, 2]] * 2 + [[3, 3, 3, 3, 4]]


def test_int8_codes_may_have_a_zero_point() -> None:
    codes = np.array([[-128, 0, 127]], np.int8)
    parts = {CODES: codes, SCALE: np.array([[0.5]], np.float32), ZEROS: np.array([[2]], np.int8)}
    assert Bytewise("I8").read(parts, 1, 3).tolist() == [[-65, -1, 62.5]]
    assert Bytewise("I8").write(np.array([[0, 128, 255]], np.uint8), None)[CODES].tolist() == [[-128, 0, 127]]
