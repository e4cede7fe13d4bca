"""Wilson's interval against the equation that defines it, errors by hand, the bootstrap against theory."""

import math
import random
import statistics

import pytest

from llmkit.probe.evaluate.intervals import bootstrap_mean, mean_error, ratio_error, wilson


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (1, 2), (81, 263), (15, 148), (999, 1000)])
def test_wilsons_limits_are_the_shares_that_the_count_is_1_96_errors_from(right: int, count: int) -> None:
    low, high = wilson(right, count)
    for edge in (low, high):
        if 0 < edge < 1:
            distance = abs(right / count - edge) / math.sqrt(edge * (1 - edge) / count)
            assert distance == pytest.approx(1.959964, rel=1e-6)
    assert 0 <= low <= right / count <= high <= 1


def test_wilson_gives_the_published_figures() -> None:  # Newcombe 1998, table I, method 3
    assert [round(one, 4) for one in wilson(81, 263)] == [0.2553, 0.3662]
    assert [round(one, 4) for one in wilson(15, 148)] == [0.0624, 0.1605]
    assert [round(one, 4) for one in wilson(0, 20)] == [0.0, 0.1611]
    assert [round(one, 4) for one in wilson(1, 29)] == [0.0061, 0.1718]


def test_of_nothing_there_is_no_share() -> None:
    with pytest.raises(ValueError, match="0 of 0"):
        wilson(0, 0)


def test_the_error_of_a_mean_is_the_textbooks() -> None:
    values = [1.0, 4.0, 2.0, 7.0, 3.5]
    assert mean_error(values) == pytest.approx(statistics.stdev(values) / math.sqrt(5), rel=1e-12)
    assert mean_error([3.0]) == 0.0


@pytest.mark.parametrize(("value", "count"), [(0.0, 2), (1.0, 2), (1.0, 1), (0.0, 400)])
def test_where_all_are_right_or_all_wrong_the_error_is_wilsons_and_not_0(value: float, count: int) -> None:
    low, high = wilson(round(value * count), count)
    assert 2 * 1.959964 * mean_error([value] * count) == pytest.approx(high - low, rel=1e-6)


def test_the_error_of_a_ratio_is_worked_out_by_hand() -> None:
    # sums 2, 6; counts 1, 2: ratio 8/3; residuals 2 - 8/3 = -2/3 and 6 - 16/3 = 2/3
    expected = math.sqrt((4 / 9 + 4 / 9) * 2 / 1) / 3
    assert ratio_error([2.0, 6.0], [1, 2]) == pytest.approx(expected, rel=1e-12)
    assert ratio_error([2.0], [1]) == 0.0


def test_tokens_that_go_together_give_a_wider_error_than_as_many_on_their_own() -> None:
    chance = random.Random(0)
    levels = [chance.gauss(3, 1) for _ in range(20)]
    clustered = ratio_error([10 * level for level in levels], [10] * 20)
    alone = mean_error([level for level in levels for _ in range(10)])
    assert clustered > 3 * alone


def test_the_bootstrap_of_many_values_is_about_1_96_standard_errors_and_repeats() -> None:
    chance = random.Random(1)
    values = [chance.gauss(5, 2) for _ in range(400)]
    low, high = bootstrap_mean(values)
    mean, error = statistics.fmean(values), mean_error(values)
    assert low == pytest.approx(mean - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.15 * error)
    assert (low, high) == bootstrap_mean(values)
