"""Values of settings that are refused, by the names of their flags."""

import math

import pytest

from llmkit.errors import ConfigError
from llmkit.train.bounds import check_bounds, flag_of


def test_what_lies_within_its_bounds_and_what_is_not_given_pass() -> None:
    check_bounds("lr", None, above=0)
    check_bounds("lr", 1e-9, above=0)
    check_bounds("min_lr_ratio", 0, low=0, high=1)
    check_bounds("min_lr_ratio", 1, low=0, high=1)


@pytest.mark.parametrize(
    ("value", "bounds", "told"),
    [
        (0.0, {"above": 0}, "above 0 (found 0.0)"),
        (-1, {"low": 0, "below": 1}, "at least 0 (found -1)"),
        (1.0, {"low": 0, "below": 1}, "below 1 (found 1.0)"),
        (2, {"low": 0, "high": 1}, "at most 1 (found 2)"),
        (math.inf, {"low": 0}, "finite (found inf)"),
        (-math.inf, {"low": 0}, "finite and at least 0 (found -inf)"),
        (math.nan, {}, "finite (found nan)"),
    ],
)
def test_what_does_not_is_refused_with_its_flag(value: float, bounds: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_bounds("weight_decay", value, **bounds)
    assert caught.value.problem == f"--weight-decay must be {told}"
    assert caught.value.hint == "change --weight-decay"


def test_a_length_of_time_has_a_flag_of_another_name() -> None:
    assert (flag_of("max_seconds"), flag_of("lr")) == ("--max-time", "--lr")
