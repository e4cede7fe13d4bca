"""Best-fit decreasing in bulk: bin for bin what the textbook's loop over items makes."""

import numpy as np
import pytest

from llmkit.tokens.best_fit import best_fit


def textbook(sizes: list[int], capacity: int) -> list[int]:
    """Each item, the largest first, into the bin with the least room that holds it; what each bin holds."""
    bins: list[int] = []
    for size in sorted(sizes, reverse=True):
        fits = [number for number, held in enumerate(bins) if held + size <= capacity]
        if fits:
            bins[max(fits, key=lambda number: bins[number])] += size
        else:
            bins.append(size)
    return bins


@pytest.mark.parametrize("capacity", [1, 2, 7, 16, 100])
@pytest.mark.parametrize("seed", range(8))
def test_bins_are_as_full_as_the_textbooks_loop_makes_them(capacity: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    highest = capacity if seed % 2 else max(1, capacity // 3)
    sizes = random.integers(1, highest + 1, size=random.integers(1, 200))
    bin_of, count = best_fit(sizes, capacity)
    held = np.bincount(bin_of, weights=sizes, minlength=count).astype(int)
    assert sorted(held) == sorted(textbook(sizes.tolist(), capacity))


def test_a_worked_example() -> None:
    bin_of, count = best_fit(np.array([2, 5, 4, 7, 1, 3, 8]), 10)
    # 8 opens 0, 7 opens 1, 5 opens 2, 4 joins 5 (room 1), 3 joins 7, 2 joins 8, 1 joins 5 and 4
    assert (bin_of.tolist(), count) == ([0, 2, 2, 1, 2, 1, 0], 3)


def test_bins_larger_than_all_items_together_take_no_longer_than_one_that_just_holds_them() -> None:
    bin_of, count = best_fit(np.array([5, 3, 5]), 10**15)  # memory and steps by the capacity would never end
    assert (bin_of.tolist(), count) == ([0, 0, 0], 1)


def test_no_items_need_no_bins() -> None:
    bin_of, count = best_fit(np.array([], np.int64), 10)
    assert (len(bin_of), count) == (0, 0)


def test_equal_items_fill_a_bin_before_the_next_is_begun() -> None:
    bin_of, count = best_fit(np.full(7, 3), 10)
    assert (bin_of.tolist(), count) == ([0, 0, 0, 1, 1, 1, 2], 3)


def test_a_million_documents_leave_almost_no_room_unused() -> None:
    sizes = np.minimum(np.random.default_rng(0).lognormal(6.4, 1.1, 200_000).astype(np.int64) + 1, 2048)
    _, count = best_fit(sizes, 2048)
    assert count <= -(-int(sizes.sum()) // 2048) * 1.0005
