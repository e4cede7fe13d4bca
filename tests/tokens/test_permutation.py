"""A seeded order: every number once, the same everywhere, and no pattern in it."""

import numpy as np
import pytest

from llmkit.tokens.permutation import permutation, seed_key


def splitmix64(state: int) -> int:
    """The generator as its paper writes it, on Python's own integers."""
    mask = (1 << 64) - 1
    z = state * 0x9E3779B97F4A7C15 & mask
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
    return z ^ (z >> 31)


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


@pytest.mark.parametrize("seed", [0, 1, -5, 2**127 - 1, -(2**127)])
def test_the_key_of_a_seed_is_its_bytes(seed: int) -> None:
    assert seed_key(seed) == seed.to_bytes(16, "little", signed=True)


def test_a_seed_of_any_size_has_a_key() -> None:
    assert len({seed_key(seed) for seed in (10**40 + 1, 10**40 + 2, -(10**40))}) == 3
