"""Gemma 4's keys: those of published files, and the fields that they are."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import FullHeadsConfig, OwnInputsConfig

Minimal = Callable[[str], dict[str, Any]]
ROPE = {
    "full_attention": {
        "partial_rotary_factor": 0.25,
        "rope_theta": 1_000_000.0,
        "rope_type": "proportional",
    },
    "sliding_attention": {"rope_theta": 10_000.0, "rope_type": "default"},
}
E2B: dict[str, Any] = {
    **{"hidden_size": 1536, "intermediate_size": 6144, "num_hidden_layers": 35, "num_attention_heads": 8},
    **{"num_key_value_heads": 1, "head_dim": 256, "global_head_dim": 512, "attention_k_eq_v": False},
    **{"num_global_key_value_heads": None, "num_kv_shared_layers": 20, "use_double_wide_mlp": True},
    **{"vocab_size": 262_144, "vocab_size_per_layer_input": 262_144, "hidden_size_per_layer_input": 256},
    **{"sliding_window": 512, "final_logit_softcapping": 30.0, "rms_norm_eps": 1e-6},
    **{"max_position_embeddings": 131_072, "enable_moe_block": False, "num_experts": None},
    "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 7,
    **{"rope_parameters": ROPE, "use_bidirectional_attention": None},
}
"""The shape of the smallest, as published within text_config."""
EXPERTS = {
    **{"hidden_size": 2816, "intermediate_size": 2112, "num_hidden_layers": 30, "num_attention_heads": 16},
    **{"num_key_value_heads": 8, "head_dim": 256, "global_head_dim": 512, "attention_k_eq_v": True},
    **{"num_global_key_value_heads": 2, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0},
    **{"enable_moe_block": True, "num_experts": 128, "top_k_experts": 8, "moe_intermediate_size": 704},
    **{"use_bidirectional_attention": "vision", "sliding_window": 1024, "rope_parameters": ROPE},
}
"""Of the one with experts."""


def test_the_smallest_is_read_out_of_the_model_for_images_and_sound() -> None:
    whole = {"model_type": "gemma4", "text_config": {"model_type": "gemma4_text", **E2B}, "dtype": "bfloat16"}
    config = ModelConfig.from_hf({**whole, "vision_config": {}, "audio_config": {}})
    assert (config.model_type, config.dtype, config.tie_word_embeddings) == ("gemma4_text", "bfloat16", True)
    assert config.full_heads == FullHeadsConfig(head_dim=512, num_key_value_heads=1, rotary_dim=128)
    assert (config.head_dim, config.rotary_dim, config.sliding_rope_theta) == (256, 256, 10_000.0)
    assert config.own_inputs == OwnInputsConfig(vocab_size=262_144, width=256)
    assert (config.shared_kv_layers, config.wide_shared_mlps, config.sliding_window) == (20, True, 512)
    assert (config.attention_scale, config.value_norm, config.layer_scalar) == (1.0, True, True)
    assert config.attention_layers == tuple(range(15))
    assert ModelConfig.from_hf(config.to_hf()) == config


def test_experts_stand_beside_the_mlp_of_every_layer() -> None:
    config = ModelConfig.from_hf({"model_type": "gemma4_text", **EXPERTS})
    assert config.full_heads == FullHeadsConfig(
        head_dim=512, num_key_value_heads=2, rotary_dim=128, values_are_keys=True
    )
    experts = config.experts
    assert experts is not None and experts.beside_mlp and experts.layers == tuple(range(30))
    assert (experts.num_experts, experts.num_experts_per_tok, experts.intermediate_size) == (128, 8, 704)
    assert experts.shared_intermediate_size == config.intermediate_size == 2112
    assert config.own_inputs is None and config.layer_scalar
    assert ModelConfig.from_hf(config.to_hf()) == config


def test_heads_of_full_layers_are_as_many_as_all_have_where_keys_are_no_values() -> None:
    config = ModelConfig.from_hf({"model_type": "gemma4_text", **EXPERTS, "attention_k_eq_v": False})
    assert config.full_heads is not None and config.full_heads.num_key_value_heads == 8


def test_heads_may_be_told_layer_by_layer_if_those_of_a_kind_are_alike(minimal: Minimal) -> None:
    told = {"04": {"head_dim": 64}, "05": {"head_dim": 48, "num_key_value_heads": 2}}
    sizes = {**minimal("gemma4_text"), "num_hidden_layers": 6, "attention_k_eq_v": True}
    config = ModelConfig.from_hf({**sizes, "per_layer_config": {"05": told["05"]}})
    assert config.full_heads is not None
    assert (config.full_heads.head_dim, config.full_heads.num_key_value_heads) == (48, 2)
    with pytest.raises(ConfigError, match="per_layer_config is not the same for all layers"):
        ModelConfig.from_hf({**sizes, "per_layer_config": told})


def test_positions_that_are_stretched_alike_are_kept(minimal: Minimal) -> None:
    full = {**ROPE["full_attention"], "factor": 4.0}
    config = ModelConfig.from_hf(
        {**minimal("gemma4_text"), "rope_parameters": {**ROPE, "full_attention": full}}
    )
    assert config.rope_scaling == {"rope_type": "linear", "factor": 4.0}
    assert ModelConfig.from_hf(config.to_hf()) == config


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("use_bidirectional_attention", "all", "attention to later tokens"),
        ("num_kv_shared_layers", 4, "num_kv_shared_layers"),
        ("num_kv_shared_layers", 1, "num_kv_shared_layers"),
        ("top_k_experts", 9, "top_k_experts"),
        ("rope_parameters", {"full_attention": {"rope_type": "yarn"}}, "rope_parameters"),
        (
            "rope_parameters",
            {"full_attention": {**ROPE["full_attention"], "rope_theta": -1.0}},
            "above 0 as rope_theta",
        ),
        ("num_global_key_value_heads", 3, "num_key_value_heads is not a divisor"),
        ("per_layer_config", {"a": 1}, "per_layer_config"),
    ],
)
def test_what_the_class_does_not_compute_is_refused(
    key: str, value: Any, problem: str, minimal: Minimal
) -> None:
    with pytest.raises(ConfigError, match=problem):
        ModelConfig.from_hf({**minimal("gemma4_text"), "attention_k_eq_v": True, key: value})
