"""The one formula of all layouts, against numbers worked out by hand."""

import numpy as np

from llmkit.formats.quantised.matrix_layout import affine

CODES = np.array([[0, 1, 2, 3]], np.uint8)
SCALES = np.array([[2.0, 10.0]], np.float32)


def test_each_group_has_its_scale_zero_point_and_base() -> None:
    assert affine(CODES, SCALES, 1).tolist() == [[-2, 0, 10, 20]]
    zeros = np.array([[0, 3]], np.uint8)
    assert affine(CODES, SCALES, zeros).tolist() == [[0, 2, -10, 0]]
    bases = np.array([[0.5, -1.0]], np.float32)
    assert affine(CODES, SCALES, 0, bases).tolist() == [[0.5, 2.5, 19, 29]]


def test_columns_may_say_which_group_they_are_of() -> None:
    groups = np.array([1, 0, 1, 0], np.int32)
    assert affine(CODES, SCALES, 0, groups=groups).tolist() == [[0, 2, 20, 6]]
    zeros = np.array([[1, 2]], np.int16)
    assert affine(CODES, SCALES, zeros, groups=groups).tolist() == [[-20, 0, 0, 4]]


def test_one_scale_may_be_all_of_a_matrixs() -> None:
    one = np.array([[3.0]], np.float32)
    assert affine(np.repeat(CODES, 2, 0), one, 2).tolist() == [[-6, -3, 0, 3]] * 2
