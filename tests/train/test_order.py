"""The order of rows: every row once an epoch, a function of seed and cursor alone."""

import numpy as np

from llmkit.train.order import RowOrder


def test_each_epoch_holds_every_row_once_in_another_order() -> None:
    order = RowOrder(1000, seed=3)
    first, second = order.take(0, 1000), order.take(1000, 1000)
    assert sorted(first) == sorted(second) == list(range(1000))
    assert list(first) != list(second) != list(range(1000))


def test_the_sequence_is_the_same_in_whatever_pieces_it_is_taken() -> None:
    whole = RowOrder(37, seed=1).take(0, 200)
    order, taken = RowOrder(37, seed=1), []
    for size in (1, 5, 60, 30, 4, 100):
        taken.append(order.take(sum(map(len, taken)), size))
    assert np.array_equal(np.concatenate(taken), whole)


def test_a_cursor_from_the_middle_needs_no_past() -> None:
    assert np.array_equal(RowOrder(50, seed=9).take(120, 7), RowOrder(50, seed=9).take(0, 127)[120:])
