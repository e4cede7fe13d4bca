"""Noise of two figures: z by hand, Fisher's and Newcombe's as published, and none where it is not known."""

from math import comb

import pytest

from llmkit.probe.evaluate.headline import Headline
from llmkit.probe.evaluate.noise import fisher, newcombe, noise_between


def _figure(value: float, error: float | None) -> Headline:
    return Headline(name="x", value=value, error=error, better="lower")


@pytest.mark.parametrize(("value", "counts"), [(10.97, False), (10.99, True), (9.03, False), (9.01, True)])
def test_a_difference_counts_from_1_96_standard_errors_of_both_on(value: float, counts: bool) -> None:
    # the difference of two figures of error 0.3 and 0.4 has error 0.5: the border is 0.98
    found = noise_between(_figure(10.0, 0.4), _figure(value, 0.3))
    assert found.p_value is not None and (found.p_value < 0.05) is counts and found.error == 0.5
    assert found.interval is not None
    assert found.interval.high - found.interval.low == pytest.approx(2 * 0.98, rel=1e-4)


@pytest.mark.parametrize("errors", [(None, None), (None, 0.1), (0.1, None), (0.0, 0.0)])
def test_noise_that_is_not_known_is_not_taken_as_none(errors: tuple[float | None, float | None]) -> None:
    found = noise_between(_figure(1.0, errors[0]), _figure(2.0, errors[1]))
    assert (found.error, found.interval, found.p_value) == (None, None, None)
    assert "not known" in found.test


def test_all_of_two_against_none_of_two_is_no_finding() -> None:
    found = noise_between(_figure(1.0, 0.0), _figure(0.0, 0.0), ((2, 2), (0, 2)))
    assert found.p_value == pytest.approx(1 / 3) and found.interval is not None
    assert -1 <= found.interval.low <= -1 + 1e-9 and "Newcombe" in found.interval.method


def test_fishers_p_is_the_sum_of_the_tables_that_are_no_likelier() -> None:
    assert fisher((3, 4), (1, 4)) == pytest.approx(34 / 70)  # Fisher's tea
    assert fisher((0, 5), (5, 5)) == pytest.approx(2 / 252)
    assert fisher((7, 10), (7, 10)) == 1.0
    tables = {k: comb(12, k) * comb(9, 10 - k) for k in range(1, 11)}
    expected = sum(one for one in tables.values() if one <= tables[8]) / comb(21, 10)
    assert fisher((8, 12), (2, 9)) == pytest.approx(expected)


def test_newcombes_interval_is_the_published_one() -> None:  # 1998, table II, method 10
    assert [round(one, 4) for one in newcombe((48, 80), (56, 70))] == [0.0524, 0.3339]
    assert [round(one, 4) for one in newcombe((3, 10), (9, 10))] == [0.1705, 0.8090]
    assert [round(one, 4) for one in newcombe((0, 10), (10, 10))] == [0.6075, 1.0]
