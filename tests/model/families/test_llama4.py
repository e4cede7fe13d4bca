"""Llama 4's keys: those of published files, and the fields that they are."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.families.llama4 import Chunks, Llama4Experts, TemperatureTuning, llama4_sparse
from llmkit.model.keys import Keys

Minimal = Callable[[str], dict[str, Any]]
SCOUT: dict[str, Any] = {
    **{"hidden_size": 5120, "intermediate_size": 8192, "intermediate_size_mlp": 16_384},
    **{"num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128},
    **{"vocab_size": 202_048, "max_position_embeddings": 10_485_760, "rms_norm_eps": 1e-5},
    **{"num_local_experts": 16, "num_experts_per_tok": 1, "interleave_moe_layer_step": 1},
    **{"attn_temperature_tuning": 4, "floor_scale": 8192, "attn_scale": 0.1, "use_qk_norm": True},
    **{"attention_chunk_size": 8192, "no_rope_layers": [], "for_llm_compressor": False},
    **{"router_jitter_noise": 0.0, "output_router_logits": False, "attention_bias": False},
    **{"rope_theta": 500_000.0, "cache_implementation": "hybrid"},
    "rope_scaling": {
        **{"factor": 16.0, "high_freq_factor": 1.0, "low_freq_factor": 1.0, "rope_type": "llama3"},
        "original_max_position_embeddings": 8192,
    },
}
"""As published with Llama-4-Scout-17B-16E, within text_config."""


def test_scout_is_read_out_of_the_model_for_images() -> None:
    whole = {"model_type": "llama4", "text_config": {"model_type": "llama4_text", **SCOUT}}
    whole |= {"vision_config": {"hidden_size": 1408}, "dtype": "bfloat16"}
    config = ModelConfig.from_hf(whole)
    assert (config.model_type, config.dtype) == ("llama4_text", "bfloat16")
    assert config.no_rope_layers == tuple(range(3, 48, 4)) and config.chunked_window
    assert config.sliding_layers == tuple(one for one in range(48) if one % 4 != 3)
    assert (config.sliding_window, config.qk_norm) == (8192, "unweighted")
    assert (config.query_growth, config.query_growth_positions) == (0.1, 8192)
    assert config.intermediate_size == 16_384 and config.experts is not None
    assert config.experts.intermediate_size == config.experts.shared_intermediate_size == 8192
    assert config.experts.layers == tuple(range(48)) and config.experts.weighs_inputs
    assert ModelConfig.from_hf(config.to_hf()) == config


def test_maverick_has_experts_in_every_second_layer_and_no_norm_of_queries() -> None:
    maverick = {"num_local_experts": 128, "interleave_moe_layer_step": 2, "use_qk_norm": False}
    maverick |= {"rope_scaling": None, "max_position_embeddings": 1_048_576}
    config = ModelConfig.from_hf({"model_type": "llama4_text", **SCOUT, **maverick})
    assert config.experts is not None and config.experts.layers == tuple(range(1, 48, 2))
    assert config.qk_norm == "none" and config.rope_scaling is None


@pytest.mark.parametrize(
    ("changes", "layers"),
    [
        ({}, (0, 1, 2, 3)),
        ({"interleave_moe_layer_step": 3}, (2,)),
        ({"interleave_moe_layer_step": 0}, ()),
        ({"moe_layers": [3, 1], "interleave_moe_layer_step": 2}, (1, 3)),
        ({"moe_layers": []}, ()),
    ],
)
def test_layers_with_experts_are_told_or_every_so_many_th(
    changes: dict[str, Any], layers: tuple[int, ...]
) -> None:
    assert llama4_sparse(Keys(changes, "there"), 4) == layers


def test_a_model_without_experts_is_dense(minimal: Minimal) -> None:
    config = ModelConfig.from_hf({**minimal("llama4_text"), "moe_layers": [], "intermediate_size_mlp": 40})
    assert config.experts is None and config.intermediate_size == 40
    assert ModelConfig.from_hf(config.to_hf()) == config


@pytest.mark.parametrize("off", [{"attn_temperature_tuning": False}, {"attn_scale": 0.0}])
def test_queries_that_do_not_grow_are_written_as_such(off: dict[str, Any]) -> None:
    tuning = TemperatureTuning()
    found = tuning.read(Keys(off, "there"), {})
    assert found == {"query_growth": 0.0, "query_growth_positions": 0}
    assert tuning.read(Keys(tuning.write(found), "there"), {}) == found


def test_without_a_chunk_every_layer_sees_all() -> None:
    found = Chunks().read(Keys({"attention_chunk_size": None}, "there"), {"num_hidden_layers": 4})
    assert found == {"sliding_layers": (), "sliding_window": None}
    written = Chunks().write({**found, "num_hidden_layers": 4})
    assert written == {"attention_chunk_size": None, "layer_types": ["full_attention"] * 4}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attn_temperature_tuning", "yes"),
        ("attn_scale", -0.1),
        ("floor_scale", 0),
        ("attention_chunk_size", "all"),
        ("no_rope_layers", [1, 0]),
        ("num_experts_per_tok", 17),
        ("num_local_experts", 0),
        ("layer_types", ["sliding_attention"] * 4),
    ],
)
def test_what_the_class_does_not_compute_is_refused(key: str, value: Any, minimal: Minimal) -> None:
    with pytest.raises(ConfigError, match=key.removeprefix("num_local_")):
        ModelConfig.from_hf({**minimal("llama4_text"), key: value})


def test_a_shared_expert_of_another_width_cannot_be_written(minimal: Minimal) -> None:
    config = ModelConfig.from_hf(minimal("llama4_text"))
    fields = {**vars(config), "experts": config.experts}
    assert config.experts is not None
    object.__setattr__(config.experts, "shared_intermediate_size", 7)
    with pytest.raises(ConfigError, match="found 7 for 96"):
        Llama4Experts().write(fields)
