"""Settings, and what they come to."""

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config_parts import ExpertsConfig
from llmkit.train.config import ROUTER_SETTINGS, PretrainConfig, Recipe, default_lr, resolve_router


def test_the_default_learning_rate_falls_with_the_root_of_the_width() -> None:
    assert default_lr(128) == 3e-3
    assert default_lr(512) == 1.5e-3
    assert default_lr(2048) == 7.5e-4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 5, "epochs": 1.0}, "two budgets: --steps and --epochs"),
        ({"batch_rows": 1, "batch_tokens": 8}, "both --batch-rows and --batch-tokens"),
        ({"tokens": 5, "tokens_per_parameter": 20.0}, "two budgets: --tokens and --tokens-per-parameter"),
        ({"target_flops": 1e9, "epochs": 1.0}, "two budgets: --epochs and --target-flops"),
        ({"target_flops": 0.0}, r"--target-flops must be above 0 \(found 0.0\)"),
        ({"fp8": True, "dtype": "float32"}, r"--fp8 is for matrices in bfloat16 .*found --dtype float32"),
        ({"momentum": 0.9}, "--momentum is Muon's"),
        ({"momentum": 1.0, "optimizer": "muon"}, r"--momentum must be below 1 \(found 1.0\)"),
        ({"schedule": "constant", "min_lr_ratio": 0.1}, "--min-lr-ratio: a constant rate has no end"),
        ({"keep": 0}, r"--keep must be at least 1 \(found 0\)"),
        ({"keep_every": 0}, r"--keep-every must be at least 1 \(found 0\)"),
        ({"max_rewinds": 2}, "--max-rewinds counts what only --on-spike rewind does"),
        ({"max_rewinds": -1, "on_spike": "rewind"}, r"--max-rewinds must be at least 0 \(found -1\)"),
        ({"beta2": 1.0}, r"--beta2 must be below 1 \(found 1.0\)"),
        ({"lr": 0.0}, r"--lr must be above 0 \(found 0.0\)"),
        ({"max_seconds": 0.0}, r"--max-time must be above 0"),
        ({"seed": 2**63}, "--seed must be at most 9223372036854775807"),
        ({"lr": math.inf}, r"--lr must be finite \(found inf\)"),
        ({"decay_ratio": 0.4}, "--decay-ratio is wsd's"),
        ({"decay_ratio": 0.4, "schedule": "linear"}, "--decay-ratio is wsd's"),
        ({"decay_ratio": 1.5, "schedule": "wsd"}, r"--decay-ratio must be at most 1 \(found 1.5\)"),
    ],
)
def test_impossible_settings_name_the_flag(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PretrainConfig(**settings)


def test_a_recipe_tells_in_which_settings_another_differs(make_recipe: Callable[..., Recipe]) -> None:
    ours = make_recipe(model={"hidden_size": 64, "num_hidden_layers": 2})
    stored = asdict(make_recipe(model={"hidden_size": 32, "num_hidden_layers": 2}, lr=0.5))
    assert ours.differences(stored) == {"hidden_size": (32, 64), "lr": (0.5, 1.0)}
    assert ours.differences(asdict(ours)) == {}


def test_a_setting_that_the_model_has_by_the_same_name_is_compared_for_itself(
    make_recipe: Callable[..., Recipe],
) -> None:
    model = {"dtype": "float32", "router_aux_loss_coef": 0.01}
    ours = make_recipe(model=model, dtype="bfloat16", router_aux_loss_coef=0.5)
    stored = asdict(make_recipe(model=model, dtype="float32", router_aux_loss_coef=0.1))
    told = {"dtype": ("float32", "bfloat16"), "router_aux_loss_coef": (0.1, 0.5)}
    assert ours.differences(stored) == told
    stored["model"]["dtype"] = "float16"
    assert ours.differences(stored) == told | {"model.dtype": ("float16", "float32")}


def test_a_recipe_from_before_a_setting_is_one_without_it(
    make_recipe: Callable[..., Recipe],
) -> None:
    stored = asdict(make_recipe())
    assert [stored.pop(name) for name in ("optimizer", "momentum", "fp8")] == ["adamw", 0.95, False]
    assert make_recipe().differences(stored) == {}
    assert make_recipe(fp8=True).differences(stored) == {"fp8": (False, True)}


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


def test_a_recipe_from_before_there_was_muon_is_adamws(make_recipe: Callable[..., Recipe]) -> None:
    old = asdict(make_recipe())
    del old["optimizer"], old["momentum"]
    assert make_recipe().differences(old) == {}
    assert make_recipe(optimizer="muon").differences(old) == {"optimizer": ("adamw", "muon")}


def test_a_recipe_from_before_there_were_experts_is_the_same(make_recipe: Callable[..., Recipe]) -> None:
    old = asdict(make_recipe())
    for name in ROUTER_SETTINGS:
        del old[name]
    assert make_recipe().differences(old) == {}
    assert make_recipe(router_bias_update=0.1).differences(old) == {"router_bias_update": (None, 0.1)}


def test_a_ramp_is_counted_in_the_tokens_and_epochs_of_a_run(make_recipe: Callable[..., Recipe]) -> None:
    plain, ramp = make_recipe(steps=10, batch_rows=4), make_recipe(steps=10, batch_rows=4, batch_ramp="1:6")
    assert [ramp.rows_of(step) for step in range(10)] == [1, 1, 2, 2, 3, 3, 4, 4, 4, 4]
    assert (ramp.rows_before(10), ramp.tokens, ramp.epochs, ramp.batch_tokens) == (28, 28 * 8, 0.28, 32)
    assert (plain.rows_of(3), plain.rows_before(3), plain.tokens, plain.epochs) == (4, 12, 40 * 8, 0.4)
    old = asdict(plain)
    del old["batch_ramp"]
    assert plain.differences(old) == {}
    assert ramp.differences(old) == {"batch_ramp": (None, "1:6")}


def test_a_profile_is_a_window_and_norms_need_layers_of_their_own() -> None:
    assert PretrainConfig(profile="10:3", log_norms=5).profile == "10:3"
    with pytest.raises(ConfigError, match="--profile x: not WAIT"):
        PretrainConfig(profile="x")
    with pytest.raises(ConfigError, match="--log-norms must be at least 0"):
        PretrainConfig(log_norms=-1)
    with pytest.raises(ConfigError, match="which --compile makes one of all"):
        PretrainConfig(log_norms=1, compile=True)
