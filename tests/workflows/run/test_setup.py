"""Every open setting of a run, by hand."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from llmkit.errors import ConfigError, UsageError
from llmkit.kernels.library import available
from llmkit.model.extend_context import parse_rope_scaling
from llmkit.model.presets import preset
from llmkit.model.transformer import Transformer
from llmkit.train.config import PretrainConfig, default_lr
from llmkit.train.parallel.degrees import Degrees
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.pretrain.process_memory import memory_bytes
from llmkit.workflows.run.setup import set_up
from tests.workflows.small_setup import MODEL, setup_of

MakeData = Callable[..., PretrainData]


def test_open_settings_are_worked_out_from_the_data_and_the_model(make_data: MakeData) -> None:
    # 1000 rows of 16: 2048 tokens a batch are 128 rows, an epoch is ceil(1000 / 128) = 8 updates
    setup = setup_of(make_data(1000, 16))
    recipe = setup.recipe
    assert (recipe.batch_rows, recipe.steps, recipe.warmup_steps) == (128, 8, 0)
    assert (setup.micro_batch_rows, setup.eval_batch_rows) == (128, 8192 // 16)
    assert (setup.eval_every, setup.checkpoint_every) == (1, 1)
    assert recipe.lr == 0.012  # 3e-3 * sqrt(128 / 8)
    assert (recipe.dtype, setup.threads, setup.device) == ("float32", 1, torch.device("cpu"))
    # 12 multiplications and additions of training for each weight and position attended to
    products = 2 * (8 * 8 * 2 + 8 * 4 * 2 + 3 * 8 * 12) + 48 * 8
    assert setup.flops_per_token == 6 * products + 12 * 2 * 8 * 16


def test_float8_products_are_in_bfloat16_arithmetic(make_data: MakeData) -> None:
    recipe = setup_of(make_data(), fp8=True).recipe
    assert (recipe.dtype, recipe.fp8, setup_of(make_data()).recipe.fp8) == ("bfloat16", True, False)


def test_of_a_mixture_a_token_is_charged_for_the_experts_it_uses(make_data: MakeData) -> None:
    # a dense layer and one of 5 experts of 4, 2 of them used, and a shared one; the router scores all 5
    config = {"hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 2}
    experts = {"num_experts": 5, "moe_intermediate_size": 4, "intermediate_size": 12}
    mixture = preset("tiny-moe-free", vocab_size=48, max_position_embeddings=32, **config, **experts)
    setup = setup_of(make_data(1000, 16), mixture)
    attention = 8 * 8 * 2 + 8 * 4 * 2
    products = 2 * attention + 3 * 8 * 12 + 5 * 8 + 3 * 3 * 8 * 4 + 48 * 8
    assert setup.flops_per_token == 6 * products + 12 * 2 * 8 * 16
    # normalised queries and keys; 4 F (here of three experts), two experts' input and output, in 4 bytes
    tokens, gated = setup.micro_batch_rows * 16, 3 if available() else 4
    layers = 2 * ((28 if available() else 32) * 8 + 6 * 2 * 4) + 4 * (
        gated * 12 + 4 * 2 * 4 + gated * 4 + 2 * 2 * 8
    )
    logit = 4 if available() else 8  # with its gradient, which takes its place where kernels make it
    # more than the gradients, which come as it goes; of layers a tenth more lies between what is held
    kept = round(tokens * 1.1 * layers) + tokens * logit * 48
    weights = sum(weight.numel() for weight in Transformer(mixture).parameters())
    assert memory_bytes(setup, PretrainConfig(), mixture) == (325 << 20) + 12 * weights + kept


def test_settings_of_routers_are_in_the_recipe_of_a_mixture_alone(make_data: MakeData) -> None:
    dense = setup_of(make_data()).recipe
    assert (dense.router_aux_loss_coef, dense.router_bias_update) == (None, None)
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1}
    lossy, biased = (preset(name, **sizes) for name in ("tiny-moe", "tiny-moe-free"))
    recipe = setup_of(make_data(), lossy, router_z_loss_coef=0.25).recipe
    assert (recipe.router_aux_loss_coef, recipe.router_z_loss_coef) == (0.001, 0.25)
    assert recipe.router_bias_update is None
    recipe = setup_of(make_data(), biased).recipe
    assert (recipe.router_aux_loss_coef, recipe.router_bias_update) == (0.0, 0.001)


def test_a_tenth_of_a_run_lies_between_checkpoints_and_evaluations(make_data: MakeData) -> None:
    for steps, every in ((1, 1), (10, 1), (11, 2), (100, 10), (101, 11)):
        setup = setup_of(make_data(), steps=steps)
        assert (setup.eval_every, setup.checkpoint_every) == (every, every)
    setup = setup_of(make_data(), steps=100, eval_every=7, checkpoint_every=3)
    assert (setup.eval_every, setup.checkpoint_every) == (7, 3)


def test_everything_that_decides_the_weights_is_in_the_recipe(make_data: MakeData) -> None:
    asked = {
        **{"steps": 5, "batch_rows": 3, "lr": 0.5, "min_lr_ratio": 0.25, "schedule": "wsd"},
        **{"warmup_steps": 2, "decay_ratio": 0.75, "beta1": 0.5, "beta2": 0.6, "weight_decay": 0.7},
        **{"optimizer": "muon", "momentum": 0.8, "clip": 0.8, "seed": 9},
        **{"dtype": "bfloat16", "document_mask": False},
    }
    data = make_data(sha256="data", tokenizer_sha256="tok")
    recipe = set_up(PretrainConfig(device="cpu", **asked), MODEL, data, "weights").recipe
    assert {name: getattr(recipe, name) for name in asked} == asked
    assert (recipe.data_sha256, recipe.tokenizer_sha256, recipe.initial_sha256) == ("data", "tok", "weights")
    assert (recipe.model, recipe.rows, recipe.seq_len) == (MODEL.to_hf(), 20, 8)


def test_wsd_decays_over_two_fifths_where_nothing_is_said(make_data: MakeData) -> None:
    assert (
        set_up(PretrainConfig(device="cpu", schedule="wsd"), MODEL, make_data(), None).recipe.decay_ratio
        == 0.4
    )


def test_rows_longer_than_the_models_positions_are_refused_and_as_long_ones_are_not(
    make_data: MakeData,
) -> None:
    assert setup_of(make_data(seq_len=32)).recipe.seq_len == 32
    with pytest.raises(UsageError, match="rows of 33 tokens, but the model has 32 positions") as caught:
        setup_of(make_data(seq_len=33))
    scaling = parse_rope_scaling("yarn:2", max_positions=16)
    stretched = replace(MODEL, rope_scaling=scaling)
    with pytest.raises(UsageError) as of_kept:  # the factor is of the 16 that its weights have learnt
        set_up(PretrainConfig(device="cpu"), stretched, make_data(seq_len=33), "a digest")
    assert of_kept.value.hint is not None and of_kept.value.hint.startswith("--rope-scaling yarn:3, or")
    assert "--max-position-embeddings 33" in caught.value.hint and "--seq-len 32" in caught.value.hint


def test_a_budget_for_each_parameter_counts_those_a_token_uses(make_data: MakeData) -> None:
    dense = sum(weight.numel() for weight in Transformer(MODEL).parameters())
    assert setup_of(make_data(), batch_rows=1, tokens_per_parameter=20.0).recipe.steps == -(-20 * dense // 8)
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 2}
    mixture = preset("tiny-moe-free", vocab_size=48, max_position_embeddings=32, **sizes)
    all_of_them = sum(weight.numel() for weight in Transformer(mixture).parameters())
    assert (
        setup_of(make_data(), mixture, batch_rows=1, tokens_per_parameter=1.0).recipe.steps < all_of_them / 8
    )


def test_a_budget_of_flops_is_spent_and_no_more_than_an_update_beyond(make_data: MakeData) -> None:
    setup = setup_of(make_data(), batch_rows=4, target_flops=1e9)
    spent, update = setup.flops_per_token * setup.recipe.tokens, setup.flops_per_token * 32
    assert 1e9 <= spent < 1e9 + update


def test_a_ramp_is_in_the_recipe_and_its_first_rows_are_shared_too(make_data: MakeData) -> None:
    recipe = setup_of(make_data(100), batch_rows=10, batch_ramp="2:8").recipe
    assert (recipe.batch_ramp, recipe.steps, recipe.tokens) == ("2:8", 14, 100 * 8)
    config = PretrainConfig(device="cpu", batch_rows=12, batch_ramp="3:8")
    with pytest.raises(ConfigError, match="3 rows cannot be shared by 2 processes"):
        set_up(config, MODEL, make_data(100), None, degrees=Degrees(dp=2))
    config = PretrainConfig(device="cpu", batch_rows=12, batch_ramp="1:8")
    with pytest.raises(ConfigError, match="--pp 2: an update has 1 rows"):
        set_up(config, MODEL, make_data(100), None, degrees=Degrees(pp=2))


def test_a_z_loss_and_a_base_width_are_in_the_recipe_where_they_can_be(make_data: MakeData) -> None:
    assert setup_of(make_data(), z_loss=0.5).recipe.z_loss == 0.5
    assert setup_of(make_data(), z_loss=0.0).recipe.z_loss is None
    apart = replace(MODEL, tie_word_embeddings=False)
    recipe = setup_of(make_data(), apart, mup_base_width=4).recipe
    assert (recipe.mup_base_width, recipe.lr) == (4, default_lr(4))
    with pytest.raises(ConfigError, match="are one matrix here"):
        setup_of(make_data(), replace(MODEL, tie_word_embeddings=True), mup_base_width=4)
