"""What sets each family with experts apart, as the published descriptions have it."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.families.sparse import SPARSE

Minimal = Callable[[str], dict[str, Any]]
EVERY = (0, 1, 2, 3)
APART: dict[str, dict[str, Any]] = {
    "mixtral": {"norm_topk_prob": True, "layers": EVERY, "intermediate_size": 96, "scoring": "softmax"},
    "qwen2_moe": {"shared_gate": True, "shared_intermediate_size": 8, "norm_topk_prob": False},
    "qwen3_moe": {"shared_gate": False, "shared_intermediate_size": 0, "layers": EVERY},
    "olmoe": {"norm_topk_prob": False, "intermediate_size": 96, "router_aux_loss_coef": 0.01},
    "deepseek_v2": {"scoring": "softmax", "selection_bias": False, "shared_intermediate_size": 16},
    "deepseek_v3": {
        **{"scoring": "sigmoid", "selection_bias": True, "group_score": "best_two", "layers": (3,)},
        **{"routed_scaling_factor": 2.5, "num_groups": 8, "topk_groups": 4, "shared_intermediate_size": 8},
    },
    "dots1": {"scoring": "sigmoid", "shared_intermediate_size": 0, "layers": EVERY},
    "glm4_moe": {"scoring": "sigmoid", "norm_topk_prob": True, "layers": (1, 2, 3)},
    "glm4_moe_lite": {"scoring": "sigmoid", "layers": (1, 2, 3), "routed_scaling_factor": 1.8},
    "ernie4_5_moe": {
        "scoring": "softmax",
        "selection_bias": True,
        "layers": (1, 2, 3),
        "norm_topk_prob": True,
    },
    "minimax_m2": {"scoring": "sigmoid", "selection_bias": True, "norm_topk_prob": True, "num_groups": 1},
    "granitemoe": {"scoring": "softmax", "selection_bias": False, "norm_topk_prob": True, "layers": EVERY},
    "hunyuan_v1_moe": {"shared_intermediate_size": 96, "norm_topk_prob": True, "shared_gate": False},
    "llama4_text": {
        **{"scoring": "sigmoid", "weighs_inputs": True, "norm_topk_prob": False, "layers": EVERY},
        **{"intermediate_size": 96, "shared_intermediate_size": 96, "selection_bias": False},
    },
    "gemma4_text": {"beside_mlp": True, "norm_topk_prob": True, "shared_intermediate_size": 96},
    "gpt_oss": {"router_bias": True, "expert_bias": True, "swiglu_limit": 7.0, "norm_topk_prob": True},
}


@pytest.mark.parametrize("family", SPARSE)
def test_what_sets_a_familys_experts_apart(family: str, minimal: Minimal) -> None:
    experts = ModelConfig.from_hf(minimal(family)).experts
    assert {name: getattr(experts, name) for name in APART[family]} == APART[family]
    assert (experts is not None and experts.num_experts, experts and experts.num_experts_per_tok) == (8, 2)


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("olmoe", "clip_qkv", 8.0),
        ("mixtral", "num_shared_experts", 1),
        ("qwen3_moe", "shared_expert_intermediate_size", 8),
        ("deepseek_v2", "scoring_func", "sigmoid"),
        ("deepseek_v2", "topk_method", "noaux_tc"),
        ("deepseek_v3", "scoring_func", "softmax"),
        ("deepseek_v3", "moe_layer_freq", 2),
        ("deepseek_v3", "attn_logit_softcapping", 30.0),
        ("gpt_oss", "swiglu_alpha", 1.5),
        ("ernie4_5_moe", "use_bias", True),
        ("minimax_m2", "scoring_func", "softmax"),
        ("minimax_m2", "qk_norm_type", "per_head"),
        ("glm4_moe_lite", "mlp_layer_types", ["sparse"]),
        ("glm4_moe_lite", "partial_rotary_factor", 0.5),
        ("qwen2_moe", "logit_scale", 2.0),
    ],
)
def test_arithmetic_that_a_family_has_not_is_refused_by_the_keys_name(
    family: str, key: str, value: Any, minimal: Minimal
) -> None:
    with pytest.raises(ConfigError, match=key):
        ModelConfig.from_hf({**minimal(family), key: value})


def test_gpt_oss_without_a_word_of_positions_is_scaled_and_with_a_word_is_not(minimal: Minimal) -> None:
    for silent in ({}, {"rope_scaling": None}):
        scaling = ModelConfig.from_hf({**minimal("gpt_oss"), **silent}).rope_scaling
        assert scaling is not None
        assert (scaling["rope_type"], scaling["factor"], scaling["truncate"]) == ("yarn", 32.0, False)
    plain = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    assert ModelConfig.from_hf({**minimal("gpt_oss"), **plain}).rope_scaling is None


def test_minimax_m2_says_what_is_rotated_by_its_width(minimal: Minimal) -> None:
    published = {
        **{"rotary_dim": 64, "head_dim": 128, "use_qk_norm": True, "qk_norm_type": "per_layer"},
        **{"scoring_func": "sigmoid", "use_routing_bias": True, "shared_intermediate_size": 0},
        **{"use_mtp": True, "num_mtp_modules": 3, "mtp_transformer_layers": 1, "attn_type_list": [1] * 4},
    }
    config = ModelConfig.from_hf({**minimal("minimax_m2"), **published})
    assert (config.rotary_dim, config.rope_theta, config.qk_norm) == (64, 5_000_000.0, "projection")
    assert config.to_hf()["rotary_dim"] == 64 and ModelConfig.from_hf(config.to_hf()) == config


@pytest.mark.parametrize(
    ("keys", "layers"),
    [
        ({"moe_layer_start_index": 0, "moe_layer_end_index": 2}, (0, 1, 2)),
        ({"moe_layer_end_index": -1, "moe_layer_interval": 2}, (1, 3)),
        ({"moe_layer_start_index": 4}, ()),
    ],
)
def test_ernies_experts_stand_in_a_range_of_layers(
    keys: dict[str, int], layers: tuple[int, ...], minimal: Minimal
) -> None:
    config = ModelConfig.from_hf({**minimal("ernie4_5_moe"), **keys})
    assert config.experts is not None and config.experts.layers == layers
    assert ModelConfig.from_hf(config.to_hf()) == config


def test_glm_4_7_flash_says_which_layers_are_dense(minimal: Minimal) -> None:
    kinds = ["dense", "sparse", "sparse", "dense"]
    config = ModelConfig.from_hf({**minimal("glm4_moe_lite"), "mlp_layer_types": kinds})
    assert config.experts is not None and config.experts.layers == (1, 2)
    assert config.to_hf()["mlp_layer_types"] == kinds
