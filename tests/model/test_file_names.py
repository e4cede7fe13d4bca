"""What files of old releases and of larger models hold, by the names of the family."""

from collections.abc import Callable

import pytest

from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.file_names import stored_weights

Make = Callable[..., ModelConfig]


def test_gpt2_names_without_their_prefix_have_it_and_tables_are_left_out(make_config: Make) -> None:
    stored = {"wte.weight": 1, "h.0.attn.bias": 2, "h.0.attn.masked_bias": 3, "h.0.attn.c_attn.bias": 4}
    assert stored_weights(
        stored | {"lm_head.weight": 5, "transformer.ln_f.bias": 6}, make_config("gpt2")
    ) == {
        **{"transformer.wte.weight": 1, "transformer.h.0.attn.c_attn.bias": 4},
        **{"lm_head.weight": 5, "transformer.ln_f.bias": 6},
    }


@pytest.mark.parametrize(
    ("family", "stored", "named"),
    [
        ("qwen3", "layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"),
        ("qwen3", "embed_tokens.weight", "model.embed_tokens.weight"),
        ("mistral", "norm.weight", "model.norm.weight"),
        ("gpt_neox", "layers.0.mlp.dense_h_to_4h.bias", "gpt_neox.layers.0.mlp.dense_h_to_4h.bias"),
        ("gpt_neox", "embed_in.weight", "gpt_neox.embed_in.weight"),
        ("qwen3", "layersnorm.weight", "layersnorm.weight"),
    ],
)
def test_a_model_that_was_saved_without_its_head_has_the_names_of_one_with_it(
    family: str, stored: str, named: str, make_config: Make
) -> None:
    assert stored_weights({stored: 1}, make_config(family)) == {named: 1}


def test_frequencies_and_masks_of_old_releases_are_no_weights(make_config: Make) -> None:
    old = {"model.norm.weight": 1, "model.layers.0.self_attn.rotary_emb.inv_freq": 2}
    assert stored_weights(old, make_config()) == {"model.norm.weight": 1}
    pythia = {"gpt_neox.layers.1.attention.bias": 1, "gpt_neox.layers.1.attention.masked_bias": 2}
    pythia |= {
        "gpt_neox.layers.1.attention.rotary_emb.inv_freq": 3,
        "gpt_neox.layers.1.attention.dense.bias": 4,
    }
    assert stored_weights(pythia, make_config("gpt_neox")) == {"gpt_neox.layers.1.attention.dense.bias": 4}


@pytest.mark.parametrize(
    "prefix", ["language_model.model.", "model.language_model.", "model.language_model.model."]
)
def test_the_language_model_inside_a_larger_one_is_taken_out(prefix: str, make_config: Make) -> None:
    stored = {f"{prefix}norm.weight": 1, f"{prefix}layers.0.mlp.up_proj.weight": 2}
    stored |= dict.fromkeys(("vision_tower.x.weight", "multi_modal_projector.y", "model.vision_tower.z"), 0)
    expected = {"model.norm.weight": 1, "model.layers.0.mlp.up_proj.weight": 2}
    assert stored_weights(stored, make_config("gemma2")) == expected
    head = {"language_model.lm_head.weight": 3, "lm_head.weight": 3}
    for name, one in head.items():
        assert stored_weights({name: one}, make_config()) == {"lm_head.weight": 3}


def test_layers_after_the_last_that_predict_further_tokens_are_left_out_where_a_family_has_them(
    make_config: Make,
) -> None:
    stored = {"model.layers.1.input_layernorm.weight": 1, "model.layers.2.eh_proj.weight": 2}
    experts = ExpertsConfig(
        **{"num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 6, "layers": (0, 1)},
        **{"scoring": "sigmoid", "group_score": "best_two", "selection_bias": True},
    )
    dots = make_config("dots1", qk_norm="head", experts=experts)
    assert stored_weights(stored, dots) == {"model.layers.1.input_layernorm.weight": 1}
    assert stored_weights(stored, make_config()) == stored  # to be refused
