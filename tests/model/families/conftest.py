"""What readers of a family's keys are given: the keys of a file, and the smallest file of each family."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.model.keys import Keys

SHARED = ("qwen3_next", "qwen3_5_moe_text")
"""Families whose mixtures have a shared expert, beside qwen2_moe."""

LOCAL = ("mixtral", "gpt_oss", "minimax_m2", "granitemoe", "llama4_text")
"""Families that call them local."""


@pytest.fixture(scope="session")
def keys() -> Callable[..., Keys]:
    """The keys of a config.json: `keys(hidden_size=8)`."""
    return lambda **config: Keys(config, "there")


@pytest.fixture(scope="session")
def minimal() -> Callable[[str], dict[str, Any]]:
    """A config.json of a family with sizes alone."""

    def make(family: str) -> dict[str, Any]:
        if family == "gpt2":
            return {
                **{"model_type": family, "vocab_size": 64, "n_embd": 128},
                **{"n_layer": 4, "n_head": 32},
            } | {"n_positions": 1024}
        sizes = {"vocab_size": 64, "hidden_size": 1024, "intermediate_size": 96, "num_hidden_layers": 4}
        counts = {"num_experts_per_tok": 2, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8}
        number = {
            **dict.fromkeys(LOCAL, "num_local_experts"),
            "ernie4_5_moe": "moe_num_experts",
            **dict.fromkeys(("qwen2_moe", "qwen3_moe", "olmoe", "hunyuan_v1_moe", *SHARED), "num_experts"),
            **dict.fromkeys(
                ("deepseek_v2", "deepseek_v3", "dots1", "glm4_moe", "glm4_moe_lite"), "n_routed_experts"
            ),
        }
        experts = {number[family]: 8, **counts} if family in number else {}
        if family not in ("qwen2_moe", *SHARED):
            experts.pop("shared_expert_intermediate_size", None)
        if family == "ernie4_5_moe":
            experts["moe_k"] = experts.pop("num_experts_per_tok")
        if family in (*LOCAL, "olmoe", "hunyuan_v1_moe"):
            experts.pop("moe_intermediate_size")
        if family == "gemma4_text":
            experts = {"enable_moe_block": True, "num_experts": 8, "top_k_experts": 2}
            experts["moe_intermediate_size"] = 8
        if family == "granitemoehybrid":
            sizes |= {"layer_types": ["mamba", "attention", "mamba", "mamba"]}
        if family == "nemotron_h":
            sizes |= {"layers_block_type": ["mamba", "mlp", "attention", "mlp"]}
        groups = {"num_key_value_heads": 32} if family == "helium" else {}  # 20 by default
        return {"model_type": family, **sizes, "num_attention_heads": 32, **groups, **experts}

    return make
