"""The learning rate at the points where it can be worked out by hand."""

import math
from collections.abc import Callable

import pytest

from llmkit.train.config import Recipe
from llmkit.train.schedule import learning_rate

Make = Callable[..., Recipe]


def test_the_warm_up_rises_in_equal_parts_and_never_starts_at_zero(make_recipe: Make) -> None:
    rates = [learning_rate(make_recipe(), step) for step in range(10)]
    assert rates == pytest.approx([(step + 1) / 11 for step in range(10)])


def test_cosine_is_at_its_peak_after_the_warm_up_and_at_its_least_at_the_end(
    make_recipe: Make,
) -> None:
    assert learning_rate(make_recipe(), 10) == pytest.approx(1.0)
    assert learning_rate(make_recipe(), 60) == pytest.approx(0.1 + 0.9 / 2)
    assert learning_rate(make_recipe(), 35) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert learning_rate(make_recipe(), 110) == pytest.approx(0.1)


def test_wsd_is_flat_until_its_decay_and_then_falls_in_a_straight_line(make_recipe: Make) -> None:
    wsd = make_recipe(schedule="wsd", steps=100, decay_ratio=0.4, min_lr_ratio=0.0)
    assert [learning_rate(wsd, step) for step in (10, 30, 60)] == pytest.approx([1.0, 1.0, 1.0])
    assert [learning_rate(wsd, step) for step in (70, 80, 90, 99)] == pytest.approx([0.75, 0.5, 0.25, 0.025])


def test_the_rates_of_the_first_steps_do_not_depend_on_the_length_of_a_wsd_run(make_recipe: Make) -> None:
    short, long = (
        make_recipe(schedule="wsd", steps=100, decay_ratio=0.2),
        make_recipe(schedule="wsd", steps=200),
    )
    assert all(learning_rate(short, step) == learning_rate(long, step) for step in range(80))


def test_a_run_that_is_all_warm_up_never_divides_by_zero(make_recipe: Make) -> None:
    assert 0 < learning_rate(make_recipe(steps=10), 9) < 1
    assert learning_rate(make_recipe(steps=10, schedule="wsd"), 10) == pytest.approx(0.1)


def test_linear_and_inverse_sqrt_are_those_of_transformers(make_recipe: Make) -> None:
    """Their warm-up is a step behind, at a rate of zero first; what follows is the same."""
    from torch import nn, optim
    from transformers import get_inverse_sqrt_schedule, get_linear_schedule_with_warmup

    peak = optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    linear = get_linear_schedule_with_warmup(peak, 10, 110).lr_lambdas[0]
    root = get_inverse_sqrt_schedule(peak, 10).lr_lambdas[0]
    bare = get_inverse_sqrt_schedule(peak, 0).lr_lambdas[0]
    for step in range(10, 111):
        ours = make_recipe(schedule="linear", min_lr_ratio=0.0)
        assert learning_rate(ours, step) == pytest.approx(linear(step))
        ours = make_recipe(schedule="inverse-sqrt", min_lr_ratio=0.0)
        assert learning_rate(ours, step) == pytest.approx(root(step))
        ours = make_recipe(schedule="inverse-sqrt", min_lr_ratio=0.0, warmup_steps=0)
        assert learning_rate(ours, step) == pytest.approx(bare(step))


def test_the_least_rate_is_the_end_of_a_linear_run_and_the_floor_of_an_inverse_root(
    make_recipe: Make,
) -> None:
    assert learning_rate(make_recipe(schedule="linear"), 60) == pytest.approx(0.1 + 0.9 / 2)
    assert learning_rate(make_recipe(schedule="linear"), 110) == pytest.approx(0.1)
    assert learning_rate(make_recipe(schedule="inverse-sqrt"), 40) == pytest.approx(0.1 + 0.9 / 2)
    assert learning_rate(make_recipe(schedule="inverse-sqrt"), 10**9) == pytest.approx(0.1, abs=1e-3)


def test_a_constant_rate_stays_after_its_warm_up(make_recipe: Make) -> None:
    flat = make_recipe(schedule="constant", min_lr_ratio=0.0)
    assert learning_rate(flat, 4) == pytest.approx(5 / 11)
    assert {learning_rate(flat, step) for step in (10, 50, 109)} == {1.0}
