"""The knapsack against every combination tried, and its promises one by one."""

import itertools
import math
import random

import pytest

from llmkit.errors import UsageError
from llmkit.quant.budget import Choice, allot


def drawn(units: int, choices: int, seed: int, unit_bytes: int) -> dict[str, list[Choice]]:
    """Losses that fall with size, as measured ones mostly do, sizes a multiple of something."""
    random_ = random.Random(seed)
    found = {}
    for unit in range(units):
        weights, risk = random_.randint(1, 9), 10 ** random_.uniform(-4, -1)
        found[f"unit{unit}"] = [
            Choice(f"int{bits}", weights * bits * unit_bytes, risk * 4.0**-bits * random_.uniform(0.6, 1.4))
            for bits in random_.sample(range(2, 9), choices)
        ]
    return found


def levelled(choices: list[Choice]) -> list[tuple[int, float]]:
    """The least squares fit that does not grow with size, by its min-max formula."""
    ordered = sorted(choices, key=lambda choice: choice.nbytes)
    losses = [choice.loss for choice in ordered]
    count = len(losses)
    fitted = [
        min(
            max(sum(losses[low : high + 1]) / (high + 1 - low) for high in range(at, count))
            for low in range(at + 1)
        )
        for at in range(count)
    ]
    return [(choice.nbytes, loss) for choice, loss in zip(ordered, fitted, strict=True)]


@pytest.mark.parametrize("seed", range(12))
def test_no_combination_that_fits_loses_less(seed: int) -> None:
    units = drawn(5, 4, seed, unit_bytes=64)
    sizes = [levelled(choices) for choices in units.values()]
    low, high = sum(min(s)[0] for s in sizes), sum(max(s)[0] for s in sizes)
    budget = low + int((high - low) * random.Random(seed).random())
    found = allot(units, budget)
    best = min(
        sum(loss for _, loss in combination)
        for combination in itertools.product(*sizes)
        if sum(nbytes for nbytes, _ in combination) <= budget
    )
    assert found.loss == pytest.approx(best, rel=1e-12)
    assert found.nbytes == sum(choice.nbytes for choice in found.chosen.values()) <= budget


def test_sizes_without_a_common_measure_come_within_a_thousandth_of_the_best() -> None:
    units = {
        name: [Choice(c.grid, c.nbytes + index, c.loss) for index, c in enumerate(choices)]
        for name, choices in drawn(5, 4, 99, unit_bytes=1_000_003).items()
    }
    sizes = [levelled(choices) for choices in units.values()]
    budget = sum((min(s)[0] + max(s)[0]) // 2 for s in sizes)
    best = min(
        sum(loss for _, loss in combination)
        for combination in itertools.product(*sizes)
        if sum(nbytes for nbytes, _ in combination) <= budget
    )
    assert best * (1 - 1e-12) <= allot(units, budget).loss <= 1.001 * best


def test_of_many_units_what_is_left_over_is_under_two_hundredths_of_a_bit() -> None:
    units = drawn(200, 5, 7, unit_bytes=4096)
    weights = sum(
        choices[0].nbytes * 8 // int(choices[0].grid.removeprefix("int")) for choices in units.values()
    )
    for bits in (4.5, 5.0, 5.71):
        found = allot(units, math.floor(bits * weights / 8))
        assert 0 <= bits - 8 * found.nbytes / weights <= 0.02


def test_a_loss_that_grows_with_size_is_levelled_and_told() -> None:
    units = {
        "odd": [Choice("a", 10, 3.0), Choice("b", 20, 1.0), Choice("c", 30, 2.0)],
        "fine": [Choice("a", 10, 0.5), Choice("b", 20, 0.1)],
    }
    found = allot(units, 1000)
    assert found.repaired == ("odd",)
    assert found.chosen["odd"] == Choice("c", 30, 1.5)  # the mean of 1 and 2
    assert found.nbytes == 30 + 20


def test_of_choices_of_one_size_the_better_is_taken() -> None:
    found = allot({"one": [Choice("Q4_0", 18, 0.4), Choice("Q4_K", 18, 0.3)]}, 18)
    assert found.chosen["one"].grid == "Q4_K"
    assert found.repaired == ()


def test_bits_that_gain_nothing_measurable_are_spent_all_the_same() -> None:
    found = allot({"dead": [Choice("int4", 40, 0.0), Choice("int8", 80, 0.0)]}, 85)
    assert (found.chosen["dead"].grid, found.nbytes) == ("int8", 80)


def test_a_budget_under_the_least_is_refused() -> None:
    units = {"one": [Choice("int4", 40, 0.1)], "two": [Choice("int4", 50, 0.1)]}
    with pytest.raises(UsageError, match="89 bytes are too few: the smallest grids take 90"):
        allot(units, 89)
    with pytest.raises(UsageError, match="no grid fits two"):
        allot({**units, "two": []}, 89)
