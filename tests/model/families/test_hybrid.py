"""Families with layers of state in the forms that their published files have."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.architecture_of import architecture_of
from llmkit.model.config import ModelConfig

LFM2: dict[str, Any] = {  # LFM2-1.2B's config.json
    **{"architectures": ["Lfm2ForCausalLM"], "model_type": "lfm2", "torch_dtype": "bfloat16"},
    **{"block_auto_adjust_ff_dim": True, "block_dim": 2048, "block_ff_dim": 12288, "block_multiple_of": 256},
    **{"block_ffn_dim_multiplier": 1.0, "block_mlp_init_scale": 1.0, "block_norm_eps": 1e-05},
    **{"block_out_init_scale": 1.0, "block_use_swiglu": True, "block_use_xavier_init": True},
    **{"bos_token_id": 1, "eos_token_id": 7, "pad_token_id": 0, "conv_L_cache": 3, "conv_bias": False},
    **{"conv_dim": 2048, "conv_dim_out": 2048, "conv_use_xavier_init": True},
    **{"full_attn_idxs": [2, 5, 8, 10, 12, 14], "hidden_size": 2048, "initializer_range": 0.02},
    **{"max_position_embeddings": 128000, "norm_eps": 1e-05, "num_attention_heads": 32, "num_heads": 32},
    **{"num_hidden_layers": 16, "num_key_value_heads": 8, "rope_theta": 1000000.0, "use_cache": True},
    **{"use_pos_enc": True, "vocab_size": 65536},
}
QWEN: dict[str, Any] = {
    **{"model_type": "qwen3_5", "tie_word_embeddings": True, "vision_config": {"depth": 2}},
    "text_config": {
        **{"model_type": "qwen3_5_text", "vocab_size": 99, "hidden_size": 64, "intermediate_size": 80},
        **{"num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32},
        **{"attn_output_gate": True, "full_attention_interval": 4, "mtp_num_hidden_layers": 1},
        **{"mamba_ssm_dtype": "float32", "linear_num_value_heads": 8, "linear_num_key_heads": 4},
        "rope_parameters": {
            **{"rope_type": "default", "rope_theta": 10_000_000, "partial_rotary_factor": 0.25},
            **{"mrope_interleaved": True, "mrope_section": [11, 11, 10]},
        },
    },
}
GRANITE: dict[str, Any] = {  # granite-4.0-h-tiny's config.json, as transformers 4 wrote it
    **{"architectures": ["GraniteMoeHybridForCausalLM"], "model_type": "granitemoehybrid"},
    **{"attention_bias": False, "attention_dropout": 0.0, "attention_multiplier": 0.0078125},
    **{"bos_token_id": 100257, "embedding_multiplier": 12, "eos_token_id": 100257, "hidden_act": "silu"},
    **{"hidden_size": 1536, "init_method": "mup", "initializer_range": 0.1, "intermediate_size": 512},
    "layer_types": ["attention" if layer in (5, 15, 25, 35) else "mamba" for layer in range(40)],
    **{"logits_scaling": 6, "mamba_chunk_size": 256, "mamba_conv_bias": True, "mamba_d_conv": 4},
    **{"mamba_d_head": 64, "mamba_d_state": 128, "mamba_expand": 2, "mamba_n_groups": 1},
    **{"mamba_n_heads": 48, "mamba_proj_bias": False, "max_position_embeddings": 131072},
    **{"normalization_function": "rmsnorm", "num_attention_heads": 12, "num_experts_per_tok": 6},
    **{"num_hidden_layers": 40, "num_key_value_heads": 4, "num_local_experts": 64},
    **{"output_router_logits": False, "pad_token_id": 100256, "position_embedding_type": "nope"},
    **{"residual_multiplier": 0.22, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000},
    **{"router_aux_loss_coef": 0.0001, "shared_intermediate_size": 1024, "tie_word_embeddings": True},
    **{"torch_dtype": "bfloat16", "use_cache": True, "vocab_size": 100352},
}


def test_granite_4_is_as_large_as_its_card_says() -> None:
    config = ModelConfig.from_hf(GRANITE)
    assert config.mamba is not None and (config.mamba.width, config.mamba.convolved) == (3072, 3328)
    assert [layer for layer in range(40) if layer not in config.state_layers] == [5, 15, 25, 35]
    assert config.no_rope_layers == tuple(range(40))
    found = architecture_of(config)
    assert round(found.parameters / 1e9, 1) == 6.9  # "7B"
    assert round(found.active_parameters / 1e9) == 1  # "1B"


def test_lfm2_is_as_large_as_its_card_says() -> None:
    config = ModelConfig.from_hf(LFM2)
    assert (config.intermediate_size, config.tie_word_embeddings) == (8192, True)
    assert config.state_layers == (0, 1, 3, 4, 6, 7, 9, 11, 13, 15)
    assert config.attention_layers == (2, 5, 8, 10, 12, 14)
    assert architecture_of(config).parameters == 1_170_340_608  # "1.2B": 1.17B


def test_qwens_text_model_is_read_out_of_the_model_for_images() -> None:
    config = ModelConfig.from_hf(QWEN)
    assert (config.model_type, config.tie_word_embeddings) == ("qwen3_5_text", True)
    assert (config.rotary_dim, config.rope_theta, config.rope_scaling) == (8, 1e7, None)
    assert config.delta is not None and config.delta.layers == (0, 1, 2, 4, 5, 6)
    assert ModelConfig.from_hf(config.to_hf()) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attn_output_gate": False}, "attn_output_gate"),
        ({"linear_num_key_heads": 3}, "linear_num_value_heads"),
        ({"layer_types": ["mamba"] * 8}, "layer_types"),
        ({"linear_conv_kernel_dim": 0}, "linear_conv_kernel_dim"),
    ],
)
def test_what_changes_the_arithmetic_is_refused_by_the_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_hf(QWEN | {"text_config": QWEN["text_config"] | changes})


def test_a_family_with_layers_of_state_has_them() -> None:
    fields = {key: getattr(ModelConfig.from_hf(LFM2), key) for key in ("vocab_size", "hidden_size")}
    with pytest.raises(ConfigError, match="short_conv"):
        ModelConfig(
            model_type="lfm2", intermediate_size=8, num_hidden_layers=2, num_attention_heads=4, **fields
        )
