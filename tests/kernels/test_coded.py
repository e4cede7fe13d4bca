"""Matrices of codes: one form for all that files have."""

import numpy as np
import pytest

from llmkit.kernels.coded import Coded, CodedMatrix, Codes, Grouping, common, stacked

FOUR = Coded(
    Grouping(Codes.FOURS, 32),
    np.arange(64, dtype=np.uint8).reshape(1, 64) % 16,
    np.array([[1, 2]], np.float16),
)
BASED = Coded(
    Grouping(Codes.FOURS, 16, 32, based=True),
    np.full((1, 64), 3, np.uint8),
    np.array([[1, 2, 3, 4]], np.int8),
    np.array([[1, 0, 0, 5]], np.int8),
    np.array([[0.5, 2]], np.float16),
    np.array([[-1, -2]], np.float16),
)


def whole(coded: Coded) -> CodedMatrix:
    return CodedMatrix(coded.grouping, *coded.codes.shape, lambda rows: coded)


def test_numbers_are_scale_times_code_and_a_base() -> None:
    assert FOUR.values()[0, [0, 15, 32, 47]].tolist() == [-8, 7, -16, 14]
    # 0.5 * 1 * 3 - 1 * 1, 0.5 * 2 * 3, 2 * 3 * 3, 2 * 4 * 3 - 2 * 5
    assert BASED.values()[0, ::16].tolist() == [0.5, 3, 18, 14]
    table = Coded(Grouping(Codes.IQ4, 32), np.full((1, 32), 15, np.uint8), np.array([[2]], np.float16))
    assert (table.values() == 226).all()


def test_matrices_of_different_kinds_are_stacked_as_one_that_holds_both() -> None:
    assert common([FOUR.grouping, FOUR.grouping]) == FOUR.grouping
    both = stacked([whole(FOUR), whole(BASED)])
    assert both.grouping == Grouping(Codes.EIGHTS, 16, based=True, wide=True)
    expected = np.concatenate([FOUR.values(), BASED.values()])
    assert np.array_equal(both.read(np.arange(2)).values(), expected)
    assert np.array_equal(both.read(np.array([1])).values(), expected[1:])
    table = Coded(
        Grouping(Codes.E2M1, 32), np.arange(64, dtype=np.uint8)[None] % 16, np.ones((1, 2), np.float16)
    )
    both = stacked([whole(table), whole(FOUR)])
    assert np.array_equal(both.read(np.arange(2)).values()[:1], table.values())


def test_rows_are_read_in_the_order_that_is_asked_for() -> None:
    values = np.arange(5, dtype=np.uint8)

    def read(rows: np.ndarray) -> Coded:
        codes = np.repeat(values[rows][:, None], 32, 1)
        return Coded(Grouping(Codes.FOURS, 32), codes, np.ones((len(rows), 1), np.float16))

    turned = CodedMatrix(Grouping(Codes.FOURS, 32), 5, 32, read).ordered(np.array([4, 2]))
    assert turned.num_rows == 2
    assert turned.read(np.arange(2)).codes[:, 0].tolist() == [4, 2]


def test_groups_that_no_kernel_has_are_refused() -> None:
    with pytest.raises(ValueError, match="not 24"):
        Grouping(Codes.FOURS, 24)
    with pytest.raises(ValueError, match="spans of whole groups"):
        Grouping(Codes.FOURS, 64, 96)
