"""Keys of a foreign config.json that change the arithmetic and are not implemented: refused by name."""

from collections.abc import Mapping
from typing import Any

from llmkit.errors import ConfigError
from llmkit.model.families import FAMILIES

FOREIGN_KEYS: dict[str, str] = {
    "quantization_config": "quantised weights",
    "text_config": "a text model nested in a larger one",
    "kv_lora_rank": "multi-head latent attention",
    "num_local_experts": "a mixture of experts",
    "num_experts": "a mixture of experts",
    "n_routed_experts": "a mixture of experts",
    "num_experts_per_tok": "a mixture of experts",
    "attn_logit_softcapping": "soft-capped attention scores",
    "final_logit_softcapping": "soft-capped logits",
    "query_pre_attn_scalar": "an attention scale of its own",
    "attention_chunk_size": "attention in chunks",
    "num_kv_shared_layers": "layers that share keys and values",
    "no_rope_layers": "layers without rotary positions",
    "linear_num_value_heads": "linear attention",
    "mamba_d_state": "state-space layers",
    "ssm_cfg": "state-space layers",
    "alibi": "ALiBi positions",
    "multi_query": "Falcon's head layout",
    "clip_qkv": "clipped projections",
    "use_parallel_residual": "parallel residual branches",
    "parallel_attn": "parallel residual branches",
    "embedding_multiplier": "scaled embeddings",
    "residual_multiplier": "scaled residual branches",
    "attention_multiplier": "an attention scale of its own",
    "logits_scaling": "scaled logits",
    "logit_scale": "scaled logits",
    "scale_attn_by_inverse_layer_idx": "attention scaled by the layer's number",
    "add_cross_attention": "cross-attention",
}
"""Refused when they are set to anything but null, false, 0 or empty."""


def refuse_foreign(config: Mapping[str, Any], source: str) -> None:
    """Refuse a config.json that asks for arithmetic beyond ours.

    Raises:
        ConfigError: names the first such key.
    """
    for key, meaning in FOREIGN_KEYS.items():
        if config.get(key):
            raise ConfigError(
                f"{source}: {key} ({meaning}) is not supported yet",
                hint=f"use a dense model of model_type {', '.join(FAMILIES)}",
            )
    if config.get("scale_attn_weights") is False:
        raise ConfigError(
            f"{source}: scale_attn_weights false is not supported",
            hint="use a model whose attention scores are divided by sqrt(head_dim)",
        )
    layers = config.get("layer_types") or []
    kinds = {str(kind) for kind in (layers if isinstance(layers, list) else [layers])} - {"full_attention"}
    if kinds:
        raise ConfigError(
            f"{source}: layer_types with {', '.join(sorted(kinds))} is not supported yet",
            hint="use a model whose layers are all full_attention",
        )
    _refuse_window(config, source)


def _refuse_window(config: Mapping[str, Any], source: str) -> None:
    """A sliding window is harmless where it is off, or no shorter than the context."""
    name = config.get("model_type")
    if name in ("qwen2", "qwen3"):
        full = config.get("max_window_layers", 28)  # so many layers, from the first on, see everything
        if not config.get("use_sliding_window") or _reaches(full, config.get("num_hidden_layers")):
            return
    elif name != "mistral":
        return
    window = config.get("sliding_window", 4096)  # absent means 4096 to the three classes
    context = config.get("max_position_embeddings") or FAMILIES[name].max_position_embeddings
    if window is not None and not _reaches(window, context):
        raise ConfigError(
            f"{source}: sliding_window {window} is shorter than max_position_embeddings {context}, "
            "which is not supported yet",
            hint=f"to stay within the window, set max_position_embeddings to {window}",
        )


def _reaches(value: Any, end: Any) -> bool:
    """A foreign file may hold anything: what is no whole number reaches nothing."""
    return isinstance(value, int) and isinstance(end, int) and value >= end
