"""Spikes and values that are not finite."""

import math
import statistics
from typing import Any

import pytest

from llmkit.train.guard import MIN_HISTORY, Guard, bad_update


def settled(count: int = 100) -> Guard:
    guard = Guard()
    for step in range(count):
        assert guard.judge(2.0 + 0.1 * (step % 2), 1.0 + 0.1 * (step % 2)) is None
    return guard


@pytest.mark.parametrize(
    ("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (2.0, math.nan), (2.0, math.inf)]
)
def test_a_value_that_is_not_finite_is_seen_at_once_and_leaves_no_trace(loss: float, norm: float) -> None:
    guard = Guard()
    before = guard.state()
    assert guard.judge(loss, norm) == "nonfinite"
    assert guard.state() == before


def test_a_spike_is_above_the_mean_and_six_standard_deviations() -> None:
    history = [2.0 + 0.1 * (step % 2) for step in range(100)]
    limit = statistics.fmean(history) + 6 * statistics.stdev(history)
    assert settled().limits()[0] == pytest.approx(limit)
    assert settled().judge(limit - 1e-6, 1.0) is None
    assert settled().judge(limit + 1e-6, 1.0) == "spike"
    assert settled().judge(2.0, 9.0) == "spike"


def test_the_first_steps_are_never_spikes() -> None:
    guard = Guard()
    losses = [10.0 - step * 0.01 for step in range(MIN_HISTORY - 1)]
    assert [guard.judge(loss, 1.0) for loss in [*losses, 1000.0]] == [None] * MIN_HISTORY


def test_a_lasting_change_of_level_is_accepted_after_a_while() -> None:
    guard = settled()
    verdicts = [guard.judge(5.0, 1.0) for _ in range(30)]
    assert verdicts[0] == "spike"
    assert verdicts[-1] is None


def test_a_restored_guard_judges_as_the_one_it_was_saved_from() -> None:
    guard, restored = settled(), Guard()
    restored.restore(guard.state())
    assert restored.limits() == guard.limits()
    assert restored.judge(3.0, 1.0) == guard.judge(3.0, 1.0) == "spike"


@pytest.mark.parametrize(("verdict", "what"), [("nonfinite", "is not finite"), ("spike", "is a spike")])
def test_an_update_that_ends_a_run_tells_what_was_found_and_what_is_usual(verdict: Any, what: str) -> None:
    error = bad_update(verdict, 7, 9.0, 2.0, (5.5, 1.25), lr=0.1)
    assert error.problem == (
        f"step 7: the loss or its gradient {what} "
        "(found loss 9, gradient norm 2; usual: loss below 5.5, norm below 1.25)"
    )
    assert error.hint.startswith(
        f"pass over such batches with --on-{verdict} skip, or start again with --lr 0.05"
    )
    assert (error.verdict, error.left_out) == (verdict, 0)
    assert bad_update(verdict, 7, 9.0, 2.0, (None, None), lr=0.1).problem.endswith("gradient norm 2)")


def test_a_run_that_left_out_too_many_updates_is_not_told_to_leave_them_out() -> None:
    error = bad_update("nonfinite", 7, math.nan, 2.0, (None, None), lr=0.1, left_out=32)
    assert error.problem.endswith("gradient norm 2), after 32 updates in a row that were left out")
    assert error.hint == "start again with --lr 0.05 or a longer --warmup-steps"
    assert error.left_out == 32
