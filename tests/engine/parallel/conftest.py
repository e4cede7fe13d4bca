"""Models of many families in their folders, to be cut."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.model.config_parts import ExpertsConfig, LatentConfig
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer

_MIXTURE: dict[str, Any] = {
    **{"num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 24, "layers": (0, 1, 2)},
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "llama, one key head, tied, an odd vocabulary": {
        **{"num_key_value_heads": 1, "tie_word_embeddings": True, "vocab_size": 41},
    },
    "llama, biased": {"attention_bias": True, "output_bias": True, "mlp_bias": True},
    "qwen3": {"model_type": "qwen3", "qk_norm": "head", "head_dim": 8, "num_key_value_heads": 2},
    "gemma2": {
        **{"model_type": "gemma2", "norm_plus_one": True, "norm_placement": "both", "embedding_scale": 4.0},
        **{"attention_scale": 0.25, "hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": True},
        **{"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0, "num_key_value_heads": 2},
        **{"sliding_layers": (0, 2), "sliding_window": 7},
    },
    "gpt2": {
        **{"model_type": "gpt2", "norm": "layer", "position": "learned", "gated_mlp": False},
        **{"hidden_act": "gelu_new", "attention_bias": True, "output_bias": True, "mlp_bias": True},
        "tie_word_embeddings": True,
    },
    "gpt_neox": {
        **{"model_type": "gpt_neox", "norm": "layer", "gated_mlp": False, "mlp_bias": True},
        **{"hidden_act": "gelu", "residual": "parallel", "attention_bias": True, "output_bias": True},
    },
    "phi3": {"model_type": "phi3", "num_key_value_heads": 2},
    "mixtral": {
        **{"model_type": "mixtral", "num_key_value_heads": 2, "intermediate_size": 24},
        "experts": ExpertsConfig(norm_topk_prob=True, **_MIXTURE),
    },
    "qwen2_moe": {
        **{"model_type": "qwen2_moe", "attention_bias": True},
        "experts": ExpertsConfig(shared_intermediate_size=20, shared_gate=True, **_MIXTURE),
    },
    "gpt_oss": {
        **{"model_type": "gpt_oss", "attention_sinks": True, "attention_bias": True, "output_bias": True},
        **{"num_key_value_heads": 2, "intermediate_size": 24, "head_dim": 8},
        "experts": ExpertsConfig(
            **{"norm_topk_prob": True, "router_bias": True, "expert_bias": True, "swiglu_limit": 7.0},
            **_MIXTURE,
        ),
    },
    "deepseek_v2": {
        **{
            "model_type": "deepseek_v2",
            "attention_scale": 10**-0.5,
            "head_dim": 10,
            "rotary_dim": 4,
            "rope_interleaved": True,
        },
        "latent": LatentConfig(kv_lora_rank=8, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=5),
        "experts": ExpertsConfig(shared_intermediate_size=24, **{**_MIXTURE, "layers": (1, 2)}),
    },
}


@pytest.fixture
def save_family(tmp_path: Path, make_model: Callable[..., Transformer]) -> Callable[[str], Path]:
    """Draw a model of a family, and put it into a folder."""

    def save(name: str) -> Path:
        folder = tmp_path / f"model{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        save_model(make_model(**FAMILIES[name]), folder)
        return folder

    return save
