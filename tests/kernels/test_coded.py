"""Matrices of codes: one form for all that files have."""

from dataclasses import replace

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
    one = whole(FOUR)
    assert common([one, one]) == [one, one]
    both = stacked([whole(FOUR), whole(BASED)])
    assert both is not None and both.grouping == Grouping(Codes.EIGHTS, 16, based=True, wide=True)
    expected = np.concatenate([FOUR.values(), BASED.values()])
    assert np.array_equal(both.read(np.arange(2)).values(), expected)
    assert np.array_equal(both.read(np.array([1])).values(), expected[1:])
    assert np.array_equal(both.read(np.array([1, 0])).values(), expected[::-1])
    table = Coded(
        Grouping(Codes.E2M1, 32), np.arange(64, dtype=np.uint8)[None] % 16, np.ones((1, 2), np.float16)
    )
    both = stacked([whole(table), whole(FOUR)])
    assert both is not None and np.array_equal(both.read(np.arange(2)).values()[:1], table.values())


def test_matrices_that_are_widened_are_stacked_where_all_their_rows_share_is_the_same() -> None:
    order = np.arange(64, dtype=np.int32)[::-1]
    mixed = replace(FOUR, grouping=replace(FOUR.grouping, head=order.tobytes()))
    assert np.array_equal(mixed.values(), FOUR.values()[:, ::-1])
    both = stacked([whole(mixed), whole(mixed)])
    assert both is not None and np.array_equal(both.read(np.arange(2)).values()[1:], mixed.values())
    based = replace(mixed, grouping=replace(mixed.grouping, based=True), bases=np.array([[3, 4]], np.float16))
    wide = replace(mixed.grouping, wide=True)
    other = replace(mixed, grouping=wide, scales=np.array([[0.1, 0.3]], np.float32))
    for one in based, other:
        both = stacked([whole(mixed), whole(one)])
        assert both is not None and both.grouping.wide and both.grouping.based == one.grouping.based
        expected = np.concatenate([mixed.values(), one.values()])
        assert np.array_equal(both.read(np.arange(2)).values(), expected)
    assert stacked([whole(mixed), whole(FOUR)]) is None
    alike = common([whole(mixed), whole(FOUR)])  # of experts, say: inputs of both are prepared once
    assert [one.grouping.number for one in alike] == [4, 4]
    assert np.array_equal(alike[1].read(np.arange(1)).values(), FOUR.values())


def test_codes_of_floats_stand_for_them() -> None:
    table = np.linspace(-1, 1, 16, dtype=np.float32)
    codes, scales = np.arange(16, dtype=np.uint8)[None], np.array([[3]], np.float32)
    floats = Coded(Grouping(Codes.FLOATS, 64, wide=True, head=table.tobytes()), codes, scales)
    assert np.array_equal(floats.values()[0], 3 * table)
    eights = Coded(Grouping(Codes.E4M3, 64, wide=True), np.array([[1, 0x38, 0x7E, 0xFE]], np.uint8), scales)
    assert eights.values()[0].tolist() == [3 * 2.0**-9, 3, 3 * 448, 3 * -448]


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
    assert Grouping(Codes.E4M3, 24).number == 4
    with pytest.raises(ValueError, match="even groups, not 32 in 256"):
        Grouping(Codes.E4M3, 32, 256)
    with pytest.raises(ValueError, match="spans of whole groups"):
        Grouping(Codes.FOURS, 64, 96)
