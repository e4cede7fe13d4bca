"""Settings, and what they come to."""

from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config_parts import ExpertsConfig
from llmkit.train.config import (
    ROUTER_SETTINGS,
    PretrainConfig,
    Recipe,
    default_lr,
    resolve_batch_rows,
    resolve_micro_batch_rows,
    resolve_router,
    resolve_steps,
    resolve_warmup_steps,
)


def test_one_epoch_is_the_budget_where_none_is_given() -> None:
    assert resolve_steps(PretrainConfig(), rows=101, seq_len=8, batch_rows=10) == 11
    assert resolve_steps(PretrainConfig(epochs=2.0), rows=100, seq_len=8, batch_rows=10) == 20
    assert resolve_steps(PretrainConfig(epochs=0.25), rows=100, seq_len=8, batch_rows=10) == 3
    assert resolve_steps(PretrainConfig(steps=7), rows=100, seq_len=8, batch_rows=10) == 7
    assert resolve_steps(PretrainConfig(tokens=1000), rows=100, seq_len=8, batch_rows=10) == 13


def test_a_batch_in_tokens_is_whole_rows() -> None:
    assert resolve_batch_rows(PretrainConfig(batch_tokens=1000), 64) == 15
    assert resolve_batch_rows(PretrainConfig(batch_rows=3), 64) == 3
    with pytest.raises(ConfigError, match="less than one row of 64 tokens"):
        resolve_batch_rows(PretrainConfig(batch_tokens=63), 64)


def test_a_micro_batch_is_no_larger_than_the_batch() -> None:
    assert (
        resolve_micro_batch_rows(
            PretrainConfig(micro_batch_rows=100), batch_rows=8, seq_len=64, device_type="cpu"
        )
        == 8
    )
    assert resolve_micro_batch_rows(PretrainConfig(), batch_rows=1000, seq_len=64, device_type="cpu") == 32


def test_warm_up_is_a_twentieth_of_the_run() -> None:
    assert resolve_warmup_steps(PretrainConfig(), 2000) == 100
    assert resolve_warmup_steps(PretrainConfig(), 1_000_000) == 2000
    assert resolve_warmup_steps(PretrainConfig(warmup_steps=0), 2000) == 0


def test_the_default_learning_rate_falls_with_the_root_of_the_width() -> None:
    assert default_lr(128) == 3e-3
    assert default_lr(512) == 1.5e-3
    assert default_lr(2048) == 7.5e-4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 5, "epochs": 1.0}, "two budgets: --steps and --epochs"),
        ({"batch_rows": 1, "batch_tokens": 8}, "both --batch-rows and --batch-tokens"),
        ({"keep": 0}, r"--keep must be at least 1 \(found 0\)"),
        ({"beta2": 1.0}, r"--beta2 must be below 1 \(found 1.0\)"),
        ({"lr": 0.0}, r"--lr must be above 0 \(found 0.0\)"),
        ({"max_seconds": 0.0}, r"--max-time must be above 0"),
    ],
)
def test_impossible_settings_name_the_flag(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PretrainConfig(**settings)  # type: ignore[arg-type]


def test_a_recipe_tells_in_which_settings_another_differs(make_recipe: Callable[..., Recipe]) -> None:
    ours = make_recipe(model={"hidden_size": 64, "num_hidden_layers": 2})
    stored = asdict(make_recipe(model={"hidden_size": 32, "num_hidden_layers": 2}, lr=0.5))
    assert ours.differences(stored) == {"hidden_size": (32, 64), "lr": (0.5, 1.0)}
    assert ours.differences(asdict(ours)) == {}


EXPERTS = ExpertsConfig(
    num_experts=4, num_experts_per_tok=2, intermediate_size=8, layers=(0,), router_aux_loss_coef=0.01
)


def test_settings_of_routers_are_the_models_unless_given() -> None:
    resolved = resolve_router(PretrainConfig(), EXPERTS)
    assert resolved == {
        **{"router_aux_loss_coef": 0.01, "router_z_loss_coef": 0.0, "router_bias_update": None},
    }
    given = resolve_router(PretrainConfig(router_aux_loss_coef=0.0, router_z_loss_coef=0.5), EXPERTS)
    assert (given["router_aux_loss_coef"], given["router_z_loss_coef"]) == (0.0, 0.5)
    biased = replace(EXPERTS, selection_bias=True)
    assert resolve_router(PretrainConfig(), biased)["router_bias_update"] == 0.001
    assert resolve_router(PretrainConfig(router_bias_update=0.0), biased)["router_bias_update"] == 0.0


def test_settings_of_routers_are_refused_where_nothing_would_come_of_them() -> None:
    assert resolve_router(PretrainConfig(), None) == {}
    for name in ROUTER_SETTINGS:
        with pytest.raises(ConfigError, match=rf"--{name.replace('_', '-')} 0.5: the model has no experts"):
            resolve_router(PretrainConfig(**{name: 0.5}), None)
        with pytest.raises(ConfigError, match=rf"--{name.replace('_', '-')} must be at least 0"):
            PretrainConfig(**{name: -0.5})
    with pytest.raises(ConfigError, match="no selection bias"):
        resolve_router(PretrainConfig(router_bias_update=0.5), EXPERTS)


def test_a_recipe_from_before_there_were_experts_is_the_same(make_recipe: Callable[..., Recipe]) -> None:
    old = asdict(make_recipe())
    for name in ROUTER_SETTINGS:
        del old[name]
    assert make_recipe().differences(old) == {}
    assert make_recipe(router_bias_update=0.1).differences(old) == {"router_bias_update": (None, 0.1)}
