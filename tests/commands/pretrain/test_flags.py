"""Tokens for each parameter, as a number or by name."""

import pytest
from typer import BadParameter

from llmkit.commands.pretrain.flags import check_calibrate, check_trial, parse_ratio
from llmkit.errors import UsageError


def test_chinchilla_is_twenty() -> None:
    assert parse_ratio("chinchilla") == 20
    assert parse_ratio("1.5") == 1.5
    assert parse_ratio(0.25) == 0.25


def test_another_word_is_told_the_names() -> None:
    with pytest.raises(BadParameter, match="'kaplan' is no number such as 20, and not chinchilla"):
        parse_ratio("kaplan")


def test_two_looks_at_a_run_are_refused_by_name() -> None:
    check_trial(overfit_batch=True, find_lr=False, dry_run=False, fail_above=1.0)
    with pytest.raises(UsageError, match="--find-lr and --dry-run"):
        check_trial(overfit_batch=False, find_lr=True, dry_run=True, fail_above=None)
    with pytest.raises(UsageError, match="--fail-above judges no range"):
        check_trial(overfit_batch=False, find_lr=True, dry_run=False, fail_above=1.0)


def test_steps_are_timed_for_a_plan_only() -> None:
    check_calibrate(calibrate=True, dry_run=True)
    check_calibrate(calibrate=False, dry_run=False)
    with pytest.raises(UsageError, match="--calibrate times a plan's steps"):
        check_calibrate(calibrate=True, dry_run=False)
