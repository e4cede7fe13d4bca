"""HunYuan's mixtures: the keys of published files, which have a number for each layer."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig

Minimal = Callable[[str], dict[str, Any]]
PUBLISHED: dict[str, Any] = {
    **{"moe_topk": [3] * 4, "moe_intermediate_size": [96] * 4, "num_shared_expert": [1] * 4},
    **{"n_group": False, "topk_group": False, "routed_scaling_factor": False, "group_limited_greedy": False},
    **{"use_mla": False, "kv_lora_rank": None, "v_head_dim": None, "num_media_embeds": 257, "use_cla": False},
    **{"moe_layer_num_skipped": 0, "norm_topk_prob": True, "use_mixed_mlp_moe": True, "cla_share_factor": 2},
}


def test_lists_of_one_number_are_that_number(minimal: Minimal) -> None:
    config = ModelConfig.from_hf({**minimal("hunyuan_v1_moe"), **PUBLISHED})
    assert config.experts is not None and config.qk_norm == "rotated"
    assert (config.experts.num_experts, config.experts.num_experts_per_tok) == (8, 3)
    assert config.experts.intermediate_size == config.experts.shared_intermediate_size == 96
    assert config.experts.layers == (0, 1, 2, 3) and config.experts.norm_topk_prob
    assert ModelConfig.from_hf(config.to_hf()) == config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("moe_topk", [2, 2, 3, 2]),
        ("moe_topk", [0] * 4),
        ("moe_topk", "2"),
        ("moe_intermediate_size", [48] * 4),
        ("num_shared_expert", [2] * 4),
        ("routed_scaling_factor", 2.5),
        ("n_group", 4),
        ("use_mla", True),
        ("norm_topk_prob", False),
    ],
)
def test_what_the_class_does_not_compute_is_refused(key: str, value: Any, minimal: Minimal) -> None:
    with pytest.raises(ConfigError, match=key):
        ModelConfig.from_hf({**minimal("hunyuan_v1_moe"), **PUBLISHED, key: value})
