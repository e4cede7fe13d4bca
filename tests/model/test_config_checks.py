"""Sizes, numbers and names that no shape may have are refused by name."""

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config_checks import (
    MOST_LAYERS,
    check_activation,
    check_layers,
    check_number,
    check_whole,
    is_number,
)


@pytest.mark.parametrize("value", [0, -1, 1.5, None, "2"])
def test_a_size_is_a_whole_number_of_at_least_one(value: object) -> None:
    check_whole("width", 1)
    with pytest.raises(ConfigError, match=r"width is not a whole number of at least 1 \(found "):
        check_whole("width", value)


@pytest.mark.parametrize("value", [-1e-9, float("inf"), float("nan"), "0", None])
def test_a_number_is_finite_and_not_negative(value: object) -> None:
    check_number("eps", 0.0)
    assert is_number(3) and not is_number(value)
    with pytest.raises(ConfigError, match=r"eps is not a number of at least 0 \(found "):
        check_number("eps", value)


def test_layers_end_where_a_file_must_be_damaged() -> None:
    check_layers(MOST_LAYERS)
    with pytest.raises(ConfigError, match="ends at 10000"):
        check_layers(MOST_LAYERS + 1)


def test_an_activation_that_is_not_known_is_refused_with_the_one_that_may_be_meant() -> None:
    check_activation("hidden_act", "silu", ("silu", "relu"))
    with pytest.raises(ConfigError, match="hidden_act 'silo' is not supported") as caught:
        check_activation("hidden_act", "silo", ("silu", "relu"))
    assert caught.value.hint == "did you mean silu?"
