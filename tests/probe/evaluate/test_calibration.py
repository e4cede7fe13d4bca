"""Calibration beside a reliability table filled by hand, and a temperature that was put in."""

import itertools
import math
import random

import pytest

from llmkit.probe.evaluate.calibration import (
    at_temperature,
    auroc,
    calibrate,
    find_threshold,
    fit_temperature,
    reliability,
)

# Ten answers in five bins: by hand
CONFIDENCES = [0.05, 0.1, 0.3, 0.35, 0.55, 0.65, 0.7, 0.9, 0.95, 1.0]
RIGHT = [False, True, False, False, True, False, True, True, True, True]


def test_the_reliability_table_is_the_one_filled_by_hand() -> None:
    table = reliability(CONFIDENCES, RIGHT, 5)
    assert [one.count for one in table] == [2, 2, 1, 2, 3]
    assert [one.accuracy for one in table] == [0.5, 0.0, 1.0, 0.5, 1.0]
    means = [0.075, 0.325, 0.55, 0.675, 0.95]
    assert [one.confidence for one in table] == pytest.approx(means)
    assert (table[0].low, table[-1].high) == (0, 1)


def test_ece_brier_and_nll_are_worked_out_by_hand() -> None:
    found = calibrate(CONFIDENCES, RIGHT, bins=5).scores
    gaps = 2 * 0.425 + 2 * 0.325 + 1 * 0.45 + 2 * 0.175 + 3 * 0.05
    assert found.ece == pytest.approx(gaps / 10, rel=1e-12)
    squares = [0.0025, 0.81, 0.09, 0.1225, 0.2025, 0.4225, 0.09, 0.01, 0.0025, 0]
    assert found.brier == pytest.approx(sum(squares) / 10, rel=1e-12)
    chances = [0.95, 0.1, 0.7, 0.65, 0.55, 0.35, 0.7, 0.9, 0.95, 1.0]
    assert found.nll == pytest.approx(-math.log(math.prod(chances)) / 10, rel=1e-9)


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    confidences, right = [*CONFIDENCES, 0.7, 0.3], [*RIGHT, False, True]
    pairs = [
        (p > q) + (p == q) / 2
        for (p, good), (q, other) in itertools.product(zip(confidences, right, strict=True), repeat=2)
        if good and not other
    ]
    assert auroc(confidences, right) == pytest.approx(sum(pairs) / len(pairs), rel=1e-12)
    assert auroc([0.5], [True]) is None


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found_again(temperature: float) -> None:
    chance = random.Random(0)
    true = [chance.uniform(0.05, 0.95) for _ in range(3_000)]
    right = [chance.random() < p for p in true]
    told = [at_temperature(p, 1 / temperature) for p in true]  # too sure by the temperature
    assert fit_temperature(told, right) == pytest.approx(temperature, rel=0.1)
    found = calibrate(told, right)
    assert found.scores_at_temperature.nll <= found.scores.nll + 1e-12
    assert found.scores_at_temperature.ece < 0.05


def test_the_fitted_temperature_beats_every_other_on_a_grid() -> None:
    best = fit_temperature(CONFIDENCES, RIGHT)

    def loss(temperature: float) -> float:
        chances = [at_temperature(p, temperature) for p in CONFIDENCES]
        return -sum(math.log(q if y else 1 - q) for q, y in zip(chances, RIGHT, strict=True))

    assert all(loss(best) <= loss(0.1 * 1.1**n) + 1e-9 for n in range(60))


def test_the_threshold_is_the_lowest_that_keeps_enough_right() -> None:
    # from the top: T T T T F T F F T F: shares 1 1 1 1 4/5 5/6 5/7 5/8 6/9 6/10
    assert find_threshold(CONFIDENCES, RIGHT, 0.8) == (0.55, 6)
    assert find_threshold(CONFIDENCES, RIGHT, 1.0) == (0.7, 4)
    assert find_threshold([0.9, 0.8], [False, True], 0.9) == (None, 0)
    assert find_threshold([0.5, 0.5], [True, False], 0.9) == (None, 0)  # equals are kept or left together


def test_a_temperature_of_one_changes_nothing_and_a_high_one_doubts_everything() -> None:
    for p in (1e-9, 0.2, 0.5, 0.999):
        assert at_temperature(p, 1.0) == pytest.approx(p, rel=1e-9)
        assert at_temperature(p, 1e6) == pytest.approx(0.5, abs=1e-4)
    assert at_temperature(0.9, 2) == pytest.approx(0.75)  # odds of 9 become 3


@pytest.mark.parametrize(("confidences", "right"), [([], []), ([0.5], []), ([1.5], [True])])
def test_what_is_no_confidence_is_refused(confidences: list[float], right: list[bool]) -> None:
    with pytest.raises(ValueError, match="confidences"):
        calibrate(confidences, right)
