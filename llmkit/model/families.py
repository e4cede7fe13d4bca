"""The model families that are implemented: which switches each may have, under its Hugging Face name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Family:
    """What one model_type allows: its causal class, and the values that each switch may have."""

    architecture: str
    switches: Mapping[str, tuple[Any, ...]]
    max_position_embeddings: int = 32_768
    """What the class in transformers assumes where config.json lacks the key; the next two as well."""
    num_key_value_heads: int | None = None
    """None: as many as heads."""
    head_dim: int | None = None
    """None: hidden_size / num_attention_heads."""


_LLAMA = {
    "norm": ("rms",),
    "position": ("rope",),
    "gated_mlp": (True,),
    "qk_norm": (False,),
    "attention_bias": (False,),
    "output_bias": (False,),
    "mlp_bias": (False,),
}
_EITHER = (False, True)
FAMILIES: dict[str, Family] = {
    "llama": Family(
        "LlamaForCausalLM",
        {**_LLAMA, "attention_bias": _EITHER, "output_bias": _EITHER, "mlp_bias": _EITHER},
        max_position_embeddings=2048,
    ),
    "mistral": Family("MistralForCausalLM", _LLAMA, max_position_embeddings=131_072, num_key_value_heads=8),
    "qwen2": Family("Qwen2ForCausalLM", {**_LLAMA, "attention_bias": (True,)}, num_key_value_heads=32),
    "qwen3": Family(
        "Qwen3ForCausalLM",
        {**_LLAMA, "qk_norm": (True,), "attention_bias": _EITHER, "output_bias": _EITHER},
        num_key_value_heads=32,
        head_dim=128,
    ),
    "gpt2": Family(
        "GPT2LMHeadModel",
        {
            "norm": ("layer",),
            "position": ("learned", "sinusoidal"),
            "gated_mlp": (False,),
            "qk_norm": (False,),
            "attention_bias": (True,),
            "output_bias": (True,),
            "mlp_bias": (True,),
        },
        max_position_embeddings=1024,
    ),
}

ROPE_KEYS: dict[str, tuple[str, ...]] = {
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}
"""The rope types that are implemented, and the numbers each needs."""
