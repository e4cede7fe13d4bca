"""The order of rows: every row once an epoch, a function of seed and cursor alone."""

import numpy as np

from llmkit.train.order import RowOrder, permutation


def splitmix64(state: int) -> int:
    """The generator as its paper writes it, on Python's own integers."""
    mask = (1 << 64) - 1
    z = state * 0x9E3779B97F4A7C15 & mask
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
    return z ^ (z >> 31)


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


def test_another_seed_gives_another_order() -> None:
    assert not np.array_equal(permutation(100, 0, 0), permutation(100, 1, 0))


def test_the_order_is_that_of_a_slow_twin_in_plain_python() -> None:
    key = splitmix64(splitmix64(7) + 2)
    expected = sorted(range(50), key=lambda row: splitmix64((row + key) & ((1 << 64) - 1)))
    assert permutation(50, seed=7, epoch=2).tolist() == expected


def test_rows_next_to_each_other_are_no_nearer_than_chance_would_have_it() -> None:
    order = permutation(10_000, seed=0, epoch=0)
    steps = np.abs(np.diff(order))
    assert abs(steps.mean() - 10_000 / 3) < 100  # the mean distance of two random points of a line is a third
