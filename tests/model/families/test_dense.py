"""What sets each dense family apart, as the published descriptions have it."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.families.dense import DENSE

Minimal = Callable[[str], dict[str, Any]]
APART: dict[str, dict[str, Any]] = {
    "llama": {"norm": "rms", "qk_norm": "none", "attention_bias": False, "norm_placement": "before"},
    "mistral": {"sliding_window": 4096, "sliding_layers": (0, 1, 2, 3)},
    "qwen2": {"attention_bias": True, "output_bias": False, "sliding_layers": ()},
    "qwen3": {"attention_bias": False, "qk_norm": "head", "head_dim": 128},
    "gemma": {"norm_plus_one": True, "embedding_scale": 32.0, "tie_word_embeddings": True},
    "gemma2": {
        **{"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "norm_placement": "both"},
        **{"sliding_layers": (0, 2), "attention_scale": 1 / 16},
    },
    "gemma3_text": {
        **{"qk_norm": "head", "sliding_rope_theta": 10_000.0, "rope_theta": 1_000_000.0},
        **{"attn_logit_softcapping": None, "sliding_layers": (0, 1, 2, 3), "norm_placement": "both"},
    },
    "ministral3": {"rope_theta": 1_000_000.0, "head_dim": 128, "sliding_window": None},
    "phi3": {"rotary_dim": 32, "hidden_act": "silu", "output_bias": False},
    "olmo2": {"norm_placement": "after", "qk_norm": "projection"},
    "olmo3": {"norm_placement": "after", "sliding_layers": (0, 1, 2), "sliding_rope_theta": 500_000.0},
    "smollm3": {"no_rope_layers": (3,), "tie_word_embeddings": True, "rope_theta": 2_000_000.0},
    "hunyuan_v1_dense": {"qk_norm": "rotated", "output_bias": False, "rope_theta": 10_000.0},
    "apertus": {"gated_mlp": False, "hidden_act": "xielu", "qk_norm": "head", "rope_theta": 12_000_000.0},
    "arcee": {"gated_mlp": False, "hidden_act": "relu2", "norm": "rms", "mlp_bias": False},
    "seed_oss": {"attention_bias": True, "output_bias": False, "head_dim": 128, "num_key_value_heads": 8},
    "helium": {"rope_interleaved": True, "rope_theta": 100_000.0, "output_bias": False},
    "ernie4_5": {"rope_interleaved": True, "rope_theta": 500_000.0, "tie_word_embeddings": True},
    "glm": {"rope_interleaved": True, "rotary_dim": 64, "attention_bias": True, "norm_placement": "before"},
    "glm4": {"norm_placement": "both", "rotary_dim": 64, "eos_token_id": (151_329, 151_336, 151_338)},
    "exaone4": {"norm_placement": "after", "qk_norm": "head", "no_rope_layers": (3,)},
    "granite": {"residual_scale": 1.0, "logit_scale": 1.0, "attention_scale": 1.0},
}


@pytest.mark.parametrize("family", DENSE)
def test_what_sets_a_family_apart(family: str, minimal: Minimal) -> None:
    config = ModelConfig.from_hf(minimal(family))
    assert {name: getattr(config, name) for name in APART[family]} == APART[family]
    assert (config.experts, config.latent) == (None, None)


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("llama", "attn_logit_softcapping", 50.0),
        ("llama", "sliding_window", 64),
        ("llama", "qk_layernorm", True),
        ("llama", "num_local_experts", 8),
        ("llama", "no_rope_layers", [1, 0]),
        ("mistral", "attention_bias", True),
        ("qwen2", "qk_norm", True),
        ("qwen3", "logit_scale", 0.5),
        ("gemma", "final_logit_softcapping", 30.0),
        ("gemma3_text", "use_bidirectional_attention", True),
        ("gemma3_text", "attn_logit_softcapping", 50.0),
        ("phi", "qk_layernorm", True),
        ("phi3", "lm_head_bias", True),
        ("olmo2", "clip_qkv", 8.0),
        ("gpt2", "scale_attn_by_inverse_layer_idx", True),
        ("gpt2", "add_cross_attention", True),
        ("gpt2", "scale_attn_weights", False),
        ("gpt2", "position_embedding_type", "rotary"),
        ("gpt_neox", "num_key_value_heads", 4),
        ("stablelm", "qk_layernorm", True),
        ("cohere", "use_qk_norm", True),
        ("granite", "head_dim", 64),
        ("smollm3", "rope_parameters", {"rope_type": "spiral"}),
    ],
)
def test_arithmetic_that_a_family_has_not_is_refused_by_the_keys_name(
    family: str, key: str, value: Any, minimal: Minimal
) -> None:
    named = "spiral" if isinstance(value, dict) else key
    with pytest.raises(ConfigError, match=named):
        ModelConfig.from_hf({**minimal(family), key: value})


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        ("llama", {"pretraining_tp": 1, "attention_dropout": 0.1, "_name_or_path": "x", "head_dim": None}),
        ("llama", {"attn_logit_softcapping": None, "qk_layernorm": False, "num_local_experts": 0}),
        (
            "phi3",
            {"attention_bias": False, "lm_head_bias": False, "full_attn_mod": 1, "interpolate_factor": 1},
        ),
        ("granite", {"head_dim": 32}),
        ("gpt2", {"summary_type": "cls_index", "resid_pdrop": 0.1, "n_ctx": 1024}),
        ("gemma2", {"cache_implementation": "hybrid", "sliding_window_size": 4096}),
        ("qwen2", {"max_window_layers": 28, "use_sliding_window": False, "sliding_window": 131_072}),
        ("gpt_neox", {"num_key_value_heads": 32, "hidden_dropout": 0.1, "classifier_dropout": 0.1}),
    ],
)
def test_keys_of_published_files_that_change_nothing_are_passed_over(
    family: str, keys: dict[str, Any], minimal: Minimal
) -> None:
    assert ModelConfig.from_hf({**minimal(family), **keys}) == ModelConfig.from_hf(minimal(family))


def test_gemmas_first_files_say_gelu_and_mean_the_tanh_approximation(minimal: Minimal) -> None:
    config = ModelConfig.from_hf({**minimal("gemma"), "hidden_act": "gelu"})
    assert config.hidden_act == "gelu_pytorch_tanh"


def test_a_cap_that_is_null_is_none_and_one_that_is_absent_the_classs(minimal: Minimal) -> None:
    config = ModelConfig.from_hf({**minimal("gemma2"), "attn_logit_softcapping": None})
    assert (config.attn_logit_softcapping, config.final_logit_softcapping) == (None, 30.0)


def test_gemma3_4b_is_told_by_a_few_keys_inside_a_model_for_images() -> None:
    inner = {"hidden_size": 2560, "intermediate_size": 10_240, "model_type": "gemma3_text"}
    inner |= {"num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}
    config = ModelConfig.from_hf(
        {"model_type": "gemma3", "text_config": {**inner, "sliding_window": 1024}, "torch_dtype": "bfloat16"}
    )
    assert (config.vocab_size, config.num_attention_heads, config.head_dim) == (262_208, 8, 256)
    assert (config.max_position_embeddings, config.dtype, config.sliding_window) == (
        131_072,
        "bfloat16",
        1024,
    )
    assert [layer for layer in range(34) if layer not in config.sliding_layers] == [5, 11, 17, 23, 29]
