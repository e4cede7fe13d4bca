"""What sets each family with LayerNorm apart, as the published descriptions have it."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.model.config import ModelConfig
from llmkit.model.families.layer_norm import LAYER_NORM

Minimal = Callable[[str], dict[str, Any]]
APART: dict[str, dict[str, Any]] = {
    "phi": {"residual": "parallel_one_norm", "head_bias": True, "rotary_dim": 16, "norm": "layer"},
    "gpt2": {"position": "learned", "gated_mlp": False, "intermediate_size": 512, "norm": "layer"},
    "gpt_neox": {"residual": "parallel", "rotary_dim": 8, "gated_mlp": False, "num_key_value_heads": 32},
    "stablelm": {"rotary_dim": 8, "norm": "layer", "gated_mlp": True, "residual": "serial"},
    "starcoder2": {"gated_mlp": False, "mlp_bias": True, "attention_bias": True, "num_key_value_heads": 2},
    "cohere": {"norm_bias": False, "rope_interleaved": True, "logit_scale": 0.0625},
    "cohere2": {"sliding_layers": (0, 1, 2), "no_rope_layers": (3,), "rope_theta": 10_000.0},
    "nemotron": {"norm_plus_one": True, "rotary_dim": 16, "gated_mlp": False, "hidden_act": "relu2"},
}


@pytest.mark.parametrize("family", LAYER_NORM)
def test_what_sets_a_family_apart(family: str, minimal: Minimal) -> None:
    config = ModelConfig.from_hf(minimal(family))
    assert {name: getattr(config, name) for name in APART[family]} == APART[family]
    assert (config.norm, config.experts, config.latent) == ("layer", None, None)


def test_what_the_published_files_of_cohere2_say_beside_is_passed_over(minimal: Minimal) -> None:
    beside = {
        **{"cache_implementation": "hybrid", "layer_switch": 4, "rotary_pct": 1.0, "head_dim": 32},
        **{"order_of_interleaved_layers": "local_attn_first", "position_embedding_type": "rope_gptj"},
        **{"use_embedding_sharing": True, "use_gated_activation": True, "use_parallel_block": True},
        **{"use_parallel_embedding": True, "use_qk_norm": False, "sliding_window_pattern": 4},
    }
    assert ModelConfig.from_hf({**minimal("cohere2"), **beside}) == ModelConfig.from_hf(minimal("cohere2"))
