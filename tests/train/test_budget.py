"""What settings come to, by hand."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.train.budget import (
    CHINCHILLA,
    MOST_STEPS,
    kept_checkpoints,
    resolve_batch_rows,
    resolve_micro_batch_rows,
    resolve_steps,
    resolve_warmup_steps,
)
from llmkit.train.config import PretrainConfig


def _steps(rows: int = 100, parameters: int = 4000, flops: float = 2e4, **config: Any) -> int:
    sizes = {"rows": rows, "seq_len": 8, "batch_rows": 10}
    return resolve_steps(PretrainConfig(**config), **sizes, parameters=parameters, flops_per_token=flops)


def test_one_epoch_is_the_budget_where_none_is_given() -> None:
    assert _steps(rows=101) == 11
    assert _steps(epochs=2.0) == 20
    assert _steps(epochs=0.25) == 3
    assert _steps(steps=7) == 7
    assert _steps(tokens=1000) == 13


def test_chinchillas_budget_is_twenty_tokens_for_each_parameter() -> None:
    assert CHINCHILLA == 20
    assert _steps(tokens_per_parameter=CHINCHILLA) == 1000  # 80,000 tokens in updates of 80
    assert _steps(tokens_per_parameter=0.5, parameters=4001) == 26  # 2000.5 tokens
    assert _steps(tokens_per_parameter=1e-9) == 1


def test_a_budget_of_flops_is_the_tokens_that_it_pays_for_rounded_up_to_updates() -> None:
    assert _steps(target_flops=1.6e9) == 1000  # 80,000 tokens of 20,000 FLOPs
    assert _steps(target_flops=1.6e9 + 1e5) == 1001
    assert _steps(target_flops=1.6e9, flops=4e4) == 500


@pytest.mark.parametrize(
    "budget",
    [
        {"steps": 2**63},
        {"tokens": 10**30},
        {"epochs": 1e300},
        {"epochs": 1e308},
        {"tokens_per_parameter": 1e300},
    ],
)
def test_a_budget_beyond_all_counting_is_refused_by_its_flag(budget: dict[str, Any]) -> None:
    (name,) = budget
    flag = name.replace("_", "-")
    with pytest.raises(ConfigError, match=rf"--{flag} .*: a run has at most 9,223,372,036,854,775,807"):
        _steps(**budget)
    assert _steps(steps=2**63 - 1) == MOST_STEPS


def test_a_batch_in_tokens_is_whole_rows() -> None:
    assert resolve_batch_rows(PretrainConfig(batch_tokens=1000), 64) == 15
    assert resolve_batch_rows(PretrainConfig(batch_rows=3), 64) == 3
    with pytest.raises(ConfigError, match="less than one row of 64 tokens"):
        resolve_batch_rows(PretrainConfig(batch_tokens=63), 64)


def test_a_micro_batch_is_no_larger_than_the_batch() -> None:
    sizes: dict[str, Any] = {"seq_len": 64, "device_type": "cpu"}
    assert resolve_micro_batch_rows(PretrainConfig(micro_batch_rows=100), batch_rows=8, **sizes) == 8
    assert resolve_micro_batch_rows(PretrainConfig(), batch_rows=1000, **sizes) == 32


def test_warm_up_is_a_twentieth_of_the_run() -> None:
    assert resolve_warmup_steps(PretrainConfig(), 2000) == 100
    assert resolve_warmup_steps(PretrainConfig(), 1_000_000) == 2000
    assert resolve_warmup_steps(PretrainConfig(warmup_steps=0), 2000) == 0


def test_a_warm_up_that_does_not_end_within_the_run_is_refused() -> None:
    for steps, warmup_steps in ((5, 5), (5, 50), (1, 1)):
        with pytest.raises(ConfigError, match=f"--warmup-steps {warmup_steps}: .* at step {steps}") as caught:
            resolve_warmup_steps(PretrainConfig(warmup_steps=warmup_steps), steps)
        assert f"at most --warmup-steps {steps - 1}," in caught.value.hint
        assert resolve_warmup_steps(PretrainConfig(warmup_steps=steps - 1), steps) == steps - 1


def test_a_run_that_begins_with_small_batches_has_more_updates_of_the_same_rows() -> None:
    # rows of updates: 2 2 4 4 6 6 8 8 10 10 ...: the first eight have 40 rows
    assert _steps(batch_ramp="2:8") == 8 + 6  # 100 rows
    assert _steps(batch_ramp="2:8", tokens=39 * 8) == 8
    assert _steps(batch_ramp="2:8", tokens=41 * 8) == 9
    assert _steps(batch_ramp="2:8", steps=3) == 3


def test_checkpoints_that_stay_and_the_one_to_go_back_to_take_room_too() -> None:
    assert kept_checkpoints(PretrainConfig(keep=3), 100) == 3
    assert kept_checkpoints(PretrainConfig(keep=3, keep_every=30), 100) == 6
    assert kept_checkpoints(PretrainConfig(keep=3, on_spike="rewind"), 100) == 4


@pytest.mark.parametrize("asked", [{"batch_rows": 10**12}, {"batch_tokens": 10**12}, {"batch_rows": 2**25}])
def test_a_batch_of_more_tokens_than_any_run_has_is_refused_by_its_flag(asked: dict[str, int]) -> None:
    flag = "--" + next(iter(asked)).replace("_", "-")
    with pytest.raises(ConfigError, match=f"{flag} makes batches of"):
        resolve_batch_rows(PretrainConfig(**asked), 64)  # type: ignore[arg-type]
    assert resolve_batch_rows(PretrainConfig(batch_rows=2**25 - 1), 64) == 2**25 - 1
