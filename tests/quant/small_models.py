"""Models small enough for a test and wide enough for superblocks."""

from typing import Any

import torch

from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.config_states import DeltaConfig, Mamba2Config
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer


def config(**changes: Any) -> ModelConfig:
    """A llama with rows of 256 numbers."""
    fields: dict[str, Any] = {
        **{"model_type": "llama", "vocab_size": 96, "hidden_size": 256, "intermediate_size": 512},
        **{"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2},
        **{"max_position_embeddings": 64, "tie_word_embeddings": False},
    }
    return ModelConfig(**(fields | changes))


def model(**changes: Any) -> Transformer:
    """Weights drawn so that every layer matters."""
    made = Transformer(config(**changes))
    generator = torch.Generator().manual_seed(5)
    initialise(made, generator)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 1.5 * parameter.shape[-1] ** -0.5, generator=generator)
    return made.eval()


def on_meta(**changes: Any) -> Transformer:
    """Shapes without memory."""
    with torch.device("meta"):
        return Transformer(config(**changes))


EXPERTS: dict[str, Any] = {
    **{"num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 256, "layers": (0, 1, 2)},
    "norm_topk_prob": True,
}


DELTA: dict[str, Any] = {
    **{"model_type": "qwen3_5_text", "qk_norm": "head", "norm_plus_one": True, "attention_gate": True},
    "delta": DeltaConfig(
        layers=(0,), num_key_heads=8, num_value_heads=16, key_head_dim=16, value_head_dim=16, kernel=4
    ),
}
"""A first layer of the gated delta rule, all heads of whose values are one superblock."""


MAMBA = Mamba2Config(layers=(0,), num_heads=16, head_dim=32, num_groups=1, state_size=16, kernel=4)
GRANITE_H: dict[str, Any] = {"model_type": "granitemoehybrid", "mamba": MAMBA, "attention_scale": 0.125}
NEMOTRON_H: dict[str, Any] = {
    **{"model_type": "nemotron_h", "mamba": MAMBA, "lone_mlps": (1,), "position": "none"},
    **{"gated_mlp": False, "hidden_act": "relu2"},
}


def sparse_nemotron() -> dict[str, Any]:
    """Mamba-2, experts without gates, attention."""
    routed = {"scoring": "sigmoid", "selection_bias": True, "group_score": "best_two"}
    mixture = ExpertsConfig(**{**EXPERTS, **routed, "layers": (1,)}, shared_intermediate_size=256)
    return {**NEMOTRON_H, "experts": mixture, "intermediate_size": 256}


def experts() -> ExpertsConfig:
    """Four, two of which a token uses."""
    return ExpertsConfig(**EXPERTS)
