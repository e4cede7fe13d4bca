"""Rates of a range test by hand, and what is read off a curve."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from llmkit.model.transformer import Transformer
from llmkit.train.trainer import StepResult, Trainer
from llmkit.train.trial import (
    RatePoint,
    SameBatch,
    flat_rate,
    lowest_point,
    range_test,
    rising_rate,
    run_updates,
    steepest_point,
)


def _results(*losses: float) -> list[StepResult]:
    return [StepResult(number, loss, 1.0, 10.0**-number, 8) for number, loss in enumerate(losses, 1)]


def test_rates_rise_by_one_factor_from_the_lowest_to_the_highest(make_recipe: Callable[..., Any]) -> None:
    rates = [rising_rate(make_recipe(), step) for step in range(100)]
    assert rates[0] == pytest.approx(1e-6) and rates[-1] == pytest.approx(1.0)
    np.testing.assert_allclose(np.diff(np.log10(rates)), 6 / 99)


def test_one_batch_is_learnt_at_the_peak_after_ten_updates(make_recipe: Callable[..., Any]) -> None:
    rates = [flat_rate(make_recipe(lr=2.0), step) for step in (0, 4, 9, 99)]
    assert rates == pytest.approx([0.2, 1.0, 2.0, 2.0])


def test_the_smoothed_loss_is_a_mean_of_those_so_far() -> None:
    points = list(range_test(iter(_results(4.0, 2.0, 1.0))))
    assert points[0].smoothed == pytest.approx(4.0)
    assert points[1].smoothed == pytest.approx((0.9 * 4 + 2) / 1.9)
    assert points[2].smoothed == pytest.approx((0.81 * 4 + 0.9 * 2 + 1) / 2.71)


def test_a_test_ends_where_the_loss_is_a_tenth_above_the_first() -> None:
    assert len(list(range_test(iter(_results(2.0, 2.1, 9.0, 1.0))))) == 3
    assert len(list(range_test(iter(_results(2.0, 2.1, 2.1, 1.0))))) == 4


def test_the_steepest_and_the_lowest_point_of_a_curve_are_those_drawn() -> None:
    """A logistic fall about 1e-3, and a rise from 1e-1 on."""
    rates = np.logspace(-6, 0, 61)
    losses = [
        5 - 3 / (1 + math.exp(-4 * math.log10(rate / 1e-3))) + 40 * max(0, rate - 0.1) for rate in rates
    ]
    points = [RatePoint(float(rate), loss, loss) for rate, loss in zip(rates, losses, strict=True)]
    steepest = steepest_point(points)
    assert steepest is not None and steepest.lr == pytest.approx(1e-3)
    assert lowest_point(points).lr == pytest.approx(0.1)


def test_a_loss_that_never_falls_has_no_steepest_point() -> None:
    assert steepest_point([RatePoint(10.0**-n, 5.0, 5.0 - n) for n in range(5, 0, -1)]) is None


def test_the_batch_is_that_of_the_runs_first_update_whatever_the_step(
    make_recipe: Callable[..., Any], make_rows: Callable[..., Any], tiny_model: Transformer
) -> None:
    recipe, rows = make_recipe(rows=20, seed=3), make_rows(20)
    source = SameBatch(rows, recipe, torch.device("cpu"))
    run = Trainer(tiny_model, rows, recipe, micro_batch_rows=4)
    first = run._source.batch(0)
    run.close()
    assert torch.equal(source.batch(0).ids, first.ids)
    assert torch.equal(source.batch(7).ids, first.ids)


def test_a_model_learns_one_batch_by_heart(
    make_recipe: Callable[..., Any], make_rows: Callable[..., Any], tiny_model: Transformer
) -> None:
    """Random ids: nothing but memory can predict them; other rows stay at chance, ln 32."""
    recipe, rows = make_recipe(rows=20, lr=0.03), make_rows(20)
    source = SameBatch(rows, recipe, torch.device("cpu"))
    trainer = Trainer(tiny_model, rows, recipe, micro_batch_rows=4, source=source, rate=flat_rate)
    results = list(run_updates(trainer))
    assert len(results) == 100 and results[0].loss > 3.3 > 0.2 > results[-1].loss
    assert results[-1].lr == 0.03


def test_updates_end_at_a_loss_that_is_not_finite(
    make_recipe: Callable[..., Any], make_rows: Callable[..., Any], tiny_model: Transformer
) -> None:
    rows = make_rows(20)
    with torch.no_grad():
        tiny_model.lm_head.weight.fill_(math.nan)
    trainer = Trainer(tiny_model, rows, make_recipe(rows=20), micro_batch_rows=4, on_nonfinite="skip")
    assert list(run_updates(trainer)) == []
    trainer.close()
