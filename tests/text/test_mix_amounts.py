"""Amounts of a mixture: worked by hand, and what has to hold of any."""

import random

import pytest

from llmkit.text.mix_amounts import Allotment, Supply, allot, shares_of


def amounts(found: list[Allotment]) -> list[float]:
    return [round(one.amount, 6) for one in found]


def dry(found: list[Allotment]) -> list[bool]:
    return [one.is_dry for one in found]


def test_a_temperature_takes_the_root_of_weights() -> None:
    assert shares_of([3, 1]) == [0.75, 0.25]
    assert shares_of([9, 1], 2) == [0.75, 0.25]  # 3 to 1
    assert shares_of([1e150, 1e-150], 1e9) == pytest.approx([0.5, 0.5])
    assert shares_of([2, 1], 1e-4) == [1, 0]
    assert amounts(allot([Supply(1, 10), Supply(0, 10)], None, "stop")) == [10, 0]


def test_without_a_total_it_is_what_the_first_source_to_run_dry_allows() -> None:
    found = allot([Supply(7, 1000), Supply(3, 150)], None, "stop")
    assert amounts(found) == [350, 150] and dry(found) == [False, False]
    found = allot([Supply(7, 1000), Supply(3, 150, epochs=2)], None, "stop")
    assert amounts(found) == [700, 300]


def test_a_total_beyond_what_a_source_has_ends_there_in_proportion() -> None:
    found = allot([Supply(7, 1000), Supply(3, 150)], 800, "stop")
    assert amounts(found) == [350, 150] and dry(found) == [False, True]
    assert [one.wanted for one in found] == pytest.approx([560, 240])
    assert amounts(allot([Supply(7, 1000), Supply(3, 150)], 400, "stop")) == [280, 120]


def test_a_source_that_drops_out_is_made_up_for_by_the_others_in_proportion() -> None:
    found = allot([Supply(2, 1000), Supply(1, 1000), Supply(1, 100)], 700, "drop")
    assert amounts(found) == [400, 200, 100] and dry(found) == [False, False, True]
    chain = allot(
        [Supply(1, 100), Supply(1, 160), Supply(1, 1000)], 600, "drop"
    )  # the second drops out later
    assert amounts(chain) == [100, 160, 340]
    everything = allot([Supply(1, 10), Supply(1, 20)], None, "drop")
    assert amounts(everything) == [10, 20] and dry(everything) == [True, False]  # 15 of each were wanted
    assert amounts(allot([Supply(1, 10), Supply(1, 20)], 99, "drop")) == [10, 20]


def test_a_source_that_repeats_gives_what_is_wanted_unless_it_has_a_limit() -> None:
    found = allot([Supply(1, 10), Supply(1, 1000)], 400, "repeat")
    assert amounts(found) == [200, 200] and dry(found) == [False, False]
    found = allot([Supply(1, 10, epochs=4), Supply(1, 1000)], 400, "repeat")
    assert amounts(found) == [40, 360] and dry(found) == [True, False]
    assert amounts(allot([Supply(1, 10), Supply(3, 60)], None, "repeat")) == [20, 60]  # each once at least


def test_no_source_gives_more_than_it_may_and_the_total_is_met_where_it_can_be() -> None:
    rng = random.Random(4)
    for _ in range(300):
        sources = [
            Supply(rng.uniform(0.01, 5), rng.randint(1, 999), rng.choice([None, 0.5, 3.0]))
            for _ in range(rng.randint(1, 6))
        ]
        most = [one.size * (one.epochs or 1.0) for one in sources]
        total = rng.randint(1, 3000)
        given = amounts(allot(sources, total, "drop"))
        assert all(amount <= have + 1e-6 for amount, have in zip(given, most, strict=True))
        assert sum(given) == pytest.approx(min(total, sum(most)))
        stopped = allot(sources, total, "stop")
        scale = sum(one.amount for one in stopped)
        shares = shares_of([one.weight for one in sources])
        assert [one.amount / scale for one in stopped] == pytest.approx(shares)
