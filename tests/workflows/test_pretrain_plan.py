"""What a run will do: every open setting by hand, what it takes, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.errors import ResourceError, UsageError
from llmkit.model.config import ModelConfig
from llmkit.model.presets import preset
from llmkit.model.transformer import Transformer
from llmkit.train.config import PretrainConfig
from llmkit.train.hardware import Peak
from llmkit.workflows import pretrain_plan
from llmkit.workflows.pretrain_data import PretrainData
from llmkit.workflows.pretrain_plan import (
    PretrainPlan,
    Setup,
    check_resources,
    memory_bytes,
    plan_run,
    set_up,
)

MODEL = ModelConfig(
    vocab_size=48,
    hidden_size=8,
    intermediate_size=12,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=32,
)
MakeData = Callable[..., PretrainData]


def _set_up(data: PretrainData, model: ModelConfig = MODEL, **config: Any) -> Setup:
    return set_up(PretrainConfig(device="cpu", **config), model, data, None)


def test_open_settings_are_worked_out_from_the_data_and_the_model(make_data: MakeData) -> None:
    # 1000 rows of 16: 2048 tokens a batch are 128 rows, an epoch is ceil(1000 / 128) = 8 updates
    setup = _set_up(make_data(1000, 16))
    recipe = setup.recipe
    assert (recipe.batch_rows, recipe.steps, recipe.warmup_steps) == (128, 8, 0)
    assert (setup.micro_batch_rows, setup.eval_batch_rows) == (128, 8192 // 16)
    assert (setup.eval_every, setup.checkpoint_every) == (1, 1)
    assert recipe.lr == 0.012  # 3e-3 * sqrt(128 / 8)
    assert (recipe.dtype, setup.threads, setup.device) == ("float32", 1, torch.device("cpu"))
    # 12 multiplications and additions of training for each weight and position attended to
    products = 2 * (8 * 8 * 2 + 8 * 4 * 2 + 3 * 8 * 12) + 48 * 8
    assert setup.flops_per_token == 6 * products + 12 * 2 * 8 * 16


def test_of_a_mixture_a_token_is_charged_for_the_experts_it_uses(make_data: MakeData) -> None:
    # a dense layer and one of 5 experts of 4, 2 of them used, and a shared one; the router scores all 5
    config = {"hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 2}
    experts = {"num_experts": 5, "moe_intermediate_size": 4, "intermediate_size": 12}
    mixture = preset("tiny-moe-free", vocab_size=48, max_position_embeddings=32, **config, **experts)
    setup = _set_up(make_data(1000, 16), mixture)
    attention = 8 * 8 * 2 + 8 * 4 * 2
    products = 2 * attention + 3 * 8 * 12 + 5 * 8 + 3 * 3 * 8 * 4 + 48 * 8
    assert setup.flops_per_token == 6 * products + 12 * 2 * 8 * 16
    # 20 D, keys and values, 4 F (here of three experts), two experts' input and output, in 4 bytes
    tokens = setup.micro_batch_rows * 16
    kept = tokens * ((2 * (20 * 8 + 2 * 4) + 4 * 12 + 4 * 3 * 4 + 2 * 2 * 8) * 4 + 3 * 4 * 48)
    weights = sum(weight.numel() for weight in Transformer(mixture).parameters())
    assert memory_bytes(setup, mixture) == (300 << 20) + 12 * weights + max(4 * weights, kept)


def test_settings_of_routers_are_in_the_recipe_of_a_mixture_alone(make_data: MakeData) -> None:
    dense = _set_up(make_data()).recipe
    assert (dense.router_aux_loss_coef, dense.router_bias_update) == (None, None)
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1}
    lossy, biased = (preset(name, **sizes) for name in ("tiny-moe", "tiny-moe-free"))
    recipe = _set_up(make_data(), lossy, router_z_loss_coef=0.25).recipe
    assert (recipe.router_aux_loss_coef, recipe.router_z_loss_coef) == (0.001, 0.25)
    assert recipe.router_bias_update is None
    recipe = _set_up(make_data(), biased).recipe
    assert (recipe.router_aux_loss_coef, recipe.router_bias_update) == (0.0, 0.001)


def test_a_tenth_of_a_run_lies_between_checkpoints_and_evaluations(make_data: MakeData) -> None:
    for steps, every in ((1, 1), (10, 1), (11, 2), (100, 10), (101, 11)):
        setup = _set_up(make_data(), steps=steps)
        assert (setup.eval_every, setup.checkpoint_every) == (every, every)
    setup = _set_up(make_data(), steps=100, eval_every=7, checkpoint_every=3)
    assert (setup.eval_every, setup.checkpoint_every) == (7, 3)


def test_everything_that_decides_the_weights_is_in_the_recipe(make_data: MakeData) -> None:
    asked = {
        **{"steps": 5, "batch_rows": 3, "lr": 0.5, "min_lr_ratio": 0.25, "schedule": "wsd"},
        **{"warmup_steps": 2, "decay_ratio": 0.75, "beta1": 0.5, "beta2": 0.6, "weight_decay": 0.7},
        **{"clip": 0.8, "seed": 9, "dtype": "bfloat16", "document_mask": False},
    }
    data = make_data(sha256="data", tokenizer_sha256="tok")
    recipe = set_up(PretrainConfig(device="cpu", **asked), MODEL, data, "weights").recipe
    assert {name: getattr(recipe, name) for name in asked} == asked
    assert (recipe.data_sha256, recipe.tokenizer_sha256, recipe.initial_sha256) == ("data", "tok", "weights")
    assert (recipe.model, recipe.rows, recipe.seq_len) == (MODEL.to_hf(), 20, 8)


def test_rows_longer_than_the_models_positions_are_refused_and_as_long_ones_are_not(
    make_data: MakeData,
) -> None:
    assert _set_up(make_data(seq_len=32)).recipe.seq_len == 32
    with pytest.raises(UsageError, match="rows of 33 tokens, but the model has 32 positions") as caught:
        _set_up(make_data(seq_len=33))
    assert "--max-position-embeddings 33" in caught.value.hint and "--seq-len 32" in caught.value.hint


@pytest.fixture
def plan(make_data: MakeData, tmp_path: Path) -> PretrainPlan:
    """Six updates of four rows."""
    config = PretrainConfig(device="cpu", steps=6, batch_rows=4, keep=3, threads=1)
    setup = set_up(config, MODEL, make_data(), None)
    return plan_run(setup, config, MODEL, make_data(), tmp_path / "not" / "yet")


def test_a_plans_figures_follow_from_each_other(plan: PretrainPlan) -> None:
    assert plan.parameters == sum(weight.numel() for weight in Transformer(MODEL).parameters())
    assert (plan.batch_tokens, plan.total_tokens) == (4 * 8, 6 * 4 * 8)
    assert plan.epochs == 6 * 4 / 20
    assert plan.total_flops == plan.flops_per_token * 6 * 4 * 8
    assert plan.total_seconds == pytest.approx(6 * plan.step_seconds)
    assert (plan.time_source, plan.threads, plan.resume_step) == ("measured step", 1, 0)
    assert plan.disk_bytes == 4 * plan.checkpoint_bytes  # three kept and one being written
    assert 12 * plan.parameters <= plan.checkpoint_bytes < 12 * plan.parameters + (64 << 10)
    assert plan.disk_free_bytes > 0


def test_planning_writes_nothing_and_gives_the_threads_back(plan: PretrainPlan, make_data: MakeData) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        config = PretrainConfig(device="cpu", steps=1, threads=1)
        plan_run(set_up(config, MODEL, make_data(), None), config, MODEL, make_data(), Path(plan.out))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert not Path(plan.out).exists()


def test_a_step_too_long_to_measure_is_estimated_at_a_share_of_the_peak(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PretrainConfig(device="cpu", steps=6, batch_rows=4)
    setup = set_up(config, MODEL, make_data(), None)
    work = setup.flops_per_token * 4 * 8
    monkeypatch.setattr(pretrain_plan, "measure_peak", lambda *_: Peak(work / 2.0, "a slow machine"))
    plan = plan_run(setup, config, MODEL, make_data(), tmp_path)
    assert plan.step_seconds == pytest.approx(2.0 / 0.4)
    assert (plan.time_source, plan.peak_source) == ("estimated at 40% of the peak", "a slow machine")


def test_memory_is_predicted_by_what_was_measured(make_data: MakeData) -> None:
    """The docstring's sum, by hand, for both kinds of norm and MLP."""
    setup = _set_up(make_data(seq_len=8), micro_batch_rows=4)
    weights = sum(weight.numel() for weight in Transformer(MODEL).parameters())
    kept = 32 * (2 * (20 * 8 + 2 * 1 * 4 + 4 * 12) * 4 + 12 * 48)
    assert memory_bytes(setup, MODEL) == (300 << 20) + 12 * weights + kept
    gpt2 = ModelConfig(
        **{**{name: getattr(MODEL, name) for name in ("vocab_size", "hidden_size", "intermediate_size")}},
        model_type="gpt2",
        num_hidden_layers=2,
        num_attention_heads=2,
        norm="layer",
        position="learned",
        attention_bias=True,
        output_bias=True,
        mlp_bias=True,
        gated_mlp=False,
        hidden_act="gelu_new",
    )
    weights = sum(weight.numel() for weight in Transformer(gpt2).parameters())
    kept = 32 * (2 * (8 * 8 + 2 * 2 * 4 + 3 * 12) * 2 + 12 * 48)
    half = replace(setup, recipe=replace(setup.recipe, dtype="bfloat16"))
    assert memory_bytes(half, gpt2) == (300 << 20) + 12 * weights + max(4 * weights, kept)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("free_bytes", r"run: 3 checkpoints and one being written"),
        ("available_memory_bytes", "training takes"),
    ],
)
def test_a_run_that_cannot_end_well_is_refused(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    config = PretrainConfig(device="cpu", steps=6, keep=3)
    setup = set_up(config, MODEL, make_data(), None)
    check_resources(setup, config, MODEL, tmp_path / "run")
    monkeypatch.setattr(pretrain_plan, name, lambda _: 1000)
    with pytest.raises(ResourceError, match=rf"{message}.*found 1,000") as caught:
        check_resources(setup, config, MODEL, tmp_path / "run")
    assert "--keep 1" in caught.value.hint or "--micro-batch-rows 1" in caught.value.hint


def test_a_machine_that_does_not_tell_its_memory_is_not_held_back(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain_plan, "available_memory_bytes", lambda _: None)
    config = PretrainConfig(device="cpu")
    check_resources(set_up(config, MODEL, make_data(), None), config, MODEL, tmp_path)
