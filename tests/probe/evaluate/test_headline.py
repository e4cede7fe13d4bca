"""Worse beyond noise: by hand, at both sides of the border, whichever way is good."""

import pytest

from llmkit.probe.evaluate.headline import Headline, is_worse


def _figure(value: float, error: float, better: str = "lower") -> Headline:
    return Headline(name="x", value=value, error=error, better=better)  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "worse"), [(10.97, False), (10.99, True), (5.0, False)])
def test_a_rise_counts_from_1_96_standard_errors_of_the_difference_on(value: float, worse: bool) -> None:
    # the difference of two figures of error 0.3 and 0.4 has error 0.5: the border is 0.98
    assert is_worse(_figure(value, 0.3), _figure(10.0, 0.4)) is worse


def test_where_higher_is_better_a_fall_counts() -> None:
    assert is_worse(_figure(0.5, 0.1, "higher"), _figure(0.8, 0.0, "higher"))
    assert not is_worse(_figure(0.9, 0.0, "higher"), _figure(0.8, 0.0, "higher"))


def test_without_noise_any_loss_counts_and_equality_does_not() -> None:
    assert is_worse(_figure(1.0001, 0), _figure(1.0, 0))
    assert not is_worse(_figure(1.0, 0), _figure(1.0, 0))
