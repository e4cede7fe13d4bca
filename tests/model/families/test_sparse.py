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
