"""Which settings a run goes on with."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.formats.checkpoint import CheckpointState
from llmkit.train.config import Recipe
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.run.same_run import check_same_run, had_rates
from tests.workflows.small_setup import setup_of

OUT = Path("run")


@pytest.fixture
def make_recipe(make_data: Callable[..., PretrainData]) -> Callable[..., Recipe]:
    """A recipe of 100 steps without a warm-up, with some fields changed."""
    recipe = replace(setup_of(make_data(), steps=100).recipe, warmup_steps=0)
    return lambda **fields: replace(recipe, **fields)


def _state(recipe: Recipe, step: int) -> CheckpointState:
    return CheckpointState(recipe=asdict(recipe), trainer={"step": step}, threads=1, versions={})


def test_a_run_of_the_same_settings_goes_on_and_one_of_others_does_not(
    make_recipe: Callable[..., Recipe],
) -> None:
    check_same_run(OUT, make_recipe(), _state(make_recipe(), 100))
    with pytest.raises(UsageError, match=r"run: .* other settings \(steps 100 there, 90 here; lr .* 9\.0"):
        check_same_run(OUT, make_recipe(steps=90, lr=9.0), _state(make_recipe(schedule="cosine", lr=0.5), 10))


@pytest.mark.parametrize(
    ("settings", "done", "steps", "goes_on"),
    [
        ({"schedule": "constant", "min_lr_ratio": 0.0}, 100, 200, True),
        ({"schedule": "inverse-sqrt"}, 100, 200, True),
        ({"schedule": "inverse-sqrt"}, 50, 60, True),
        ({"schedule": "inverse-sqrt"}, 50, 40, False),  # it has more behind it
        (
            {"schedule": "wsd", "decay_ratio": 0.2},
            81,
            200,
            True,
        ),  # the first of the decay is at the peak still
        ({"schedule": "wsd", "decay_ratio": 0.2}, 82, 200, False),
        ({"schedule": "cosine"}, 100, 200, False),
        ({"schedule": "linear"}, 100, 200, False),
        ({"schedule": "linear", "warmup_steps": 20}, 20, 200, True),  # it rises as it would have
    ],
)
def test_more_steps_are_no_other_run_where_all_rates_so_far_are_the_same(
    make_recipe: Callable[..., Recipe], settings: dict[str, Any], done: int, steps: int, goes_on: bool
) -> None:
    old, new = make_recipe(**settings), make_recipe(steps=steps, **settings)
    assert had_rates(new, 100, done) is goes_on
    if goes_on:
        check_same_run(OUT, new, _state(old, done))
        return
    with pytest.raises(UsageError, match=rf"\(steps 100 there, {steps} here\)") as caught:
        check_same_run(OUT, new, _state(old, done))
    assert "pretrain -m run, finetune run, with another -o" in caught.value.hint


def test_a_warm_up_that_grows_with_the_steps_is_named_where_the_old_one_would_do(
    make_recipe: Callable[..., Recipe],
) -> None:
    old = make_recipe(schedule="constant", min_lr_ratio=0.0, warmup_steps=5)
    with pytest.raises(UsageError, match="steps 100 there, 200 here; warmup_steps 5 there, 10") as caught:
        check_same_run(OUT, replace(old, steps=200, warmup_steps=10), _state(old, 100))
    assert caught.value.hint == "--warmup-steps 5: with it the run goes on to step 200"
    check_same_run(OUT, replace(old, steps=200), _state(old, 100))
