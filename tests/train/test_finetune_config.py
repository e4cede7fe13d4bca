"""What may be asked for, and what is worked out where nothing was."""

from dataclasses import asdict, replace
from typing import Any, get_args

import pytest

from llmkit.errors import ConfigError
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.config import ExpertsConfig
from llmkit.train.budget import resolve_steps
from llmkit.train.config import resolve_router
from llmkit.train.finetune_config import (
    OWN_SETTINGS,
    FinetuneConfig,
    FinetuneRecipe,
    Method,
    default_finetune_lr,
    default_rows,
)


def test_published_learning_rates_stand_at_a_width_of_4096_and_rise_as_models_get_narrower() -> None:
    def rate(method: str, adapter: bool, width: int = 4096) -> float:
        return default_finetune_lr(method, adapter=adapter, hidden_size=width)

    assert [rate("sft", False), rate("sft", True)] == pytest.approx([2e-5, 2e-4])
    assert [rate("dpo", False), rate("dpo", True)] == pytest.approx([1e-6, 1e-5])
    assert rate("sft", False, 1024) == pytest.approx(8e-5)  # a quarter of the width, four times the rate
    assert rate("sft", False, 64) == pytest.approx(1.28e-3)


def test_only_rows_that_are_pairs_answers_or_prompts_are_counted_one_by_one() -> None:
    assert {method for method in get_args(Method) if default_rows(method) is None} == {"sft", "kd"}


@pytest.mark.parametrize("setting", OWN_SETTINGS)
def test_a_setting_of_another_method_is_refused_by_its_flag(setting: str) -> None:
    value: Any = {"direction": "forward"}.get(setting, 2)
    mine = OWN_SETTINGS[setting][0]
    needed = {"updates_per_rollout": 2} if setting == "clip_ratio" else {}
    config = FinetuneConfig(method=mine, **{setting: value, **needed})  # type: ignore[arg-type]
    assert config.settings[setting] == value
    other = next(method for method in get_args(Method) if method not in OWN_SETTINGS[setting])
    with pytest.raises(ConfigError) as caught:
        FinetuneConfig(method=other, **{setting: value})  # type: ignore[arg-type]
    assert f"--{setting.replace('_', '-')} with --method {other}" in caught.value.problem
    assert mine in caught.value.hint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patience": 0}, "--patience must be at least 1"),
        ({"method": "grpo", "group_size": 1}, "--group-size must be at least 2"),
        ({"lora": LoraConfig(), "last_layers": 1}, "--last-layers trains the weights themselves"),
        ({"lora": LoraConfig(), "router_bias_update": 0.1}, "--router-bias-update changes the model itself"),
        ({"method": "grpo", "temperature": 0.0}, "--temperature must be above 0"),
        ({"method": "grpo", "updates_per_rollout": 0}, "--updates-per-rollout must be at least 1"),
        ({"method": "grpo", "clip_ratio": 0.2}, "--clip-ratio with one update from each answer"),
        ({"qlora": True}, "weights in four bits cannot be trained"),
        ({"lr": -1.0}, "--lr must be above 0"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FinetuneConfig(**settings)


def test_adapters_leave_the_biases_of_routers() -> None:
    biased = ExpertsConfig(
        num_experts=4, num_experts_per_tok=2, intermediate_size=8, layers=(0,), selection_bias=True
    )
    whole = resolve_router(FinetuneConfig(), biased)
    assert whole["router_bias_update"] == 0.001
    assert resolve_router(FinetuneConfig(lora=LoraConfig()), biased) == {**whole, "router_bias_update": None}


def test_several_updates_from_the_same_answers_take_up_their_prompts_once(make_recipe: Any) -> None:
    config = FinetuneConfig(method="grpo", updates_per_rollout=4)
    sizes = {"rows": 10, "seq_len": 8, "batch_rows": 2, "parameters": 1, "flops_per_token": 1.0}
    assert resolve_steps(config, **sizes) == 5 * 4
    assert resolve_steps(replace(config, epochs=2.0), **sizes) == 10 * 4
    assert resolve_steps(replace(config, steps=7), **sizes) == 7
    recipe = FinetuneRecipe(
        **vars(make_recipe(rows=10, batch_rows=2, steps=20)), method="grpo", settings=config.settings
    )
    assert recipe.epochs == 1.0
    assert [recipe.cursor(step) for step in (0, 1, 4, 5, 20)] == [0, 2, 2, 4, 10]


def test_a_reference_is_used_by_the_methods_that_compare_and_by_grpo_unless_beta_is_0() -> None:
    using = [method for method in get_args(Method) if FinetuneConfig(method=method).uses_reference]
    assert using == ["dpo", "ipo", "hinge", "robust", "kto", "grpo"]
    assert not FinetuneConfig(method="grpo", beta=0.0).uses_reference


def test_what_is_trained_is_told_by_name_and_as_json_has_it() -> None:
    assert FinetuneConfig().parameters == {"kind": "full"}
    assert FinetuneConfig(last_layers=2).parameters == {"kind": "last_layers", "layers": 2}
    lora = FinetuneConfig(lora=LoraConfig(r=4, targets=("q_proj", "v_proj")), qlora=True).parameters
    assert (lora["kind"], lora["r"], lora["targets"]) == ("qlora", 4, ["q_proj", "v_proj"])


def test_a_stored_recipe_differs_where_the_method_or_the_parameters_do(make_recipe: Any) -> None:
    plain = asdict(make_recipe(rows=4))
    recipe = FinetuneRecipe(**plain, method="dpo", settings={"beta": 0.1}, parameters={"kind": "full"})
    assert recipe.differences(asdict(recipe)) == {}
    stored = asdict(recipe) | {"method": "ipo", "settings": {"beta": 0.2}}
    assert recipe.differences(stored) == {
        "method": ("ipo", "dpo"),
        "settings": ({"beta": 0.2}, {"beta": 0.1}),
    }
