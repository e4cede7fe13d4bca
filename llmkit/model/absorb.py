"""Falcon-H1's multipliers put into its weights, as files have them that have no keys for them (GGUF).

Shapes: W heads of Y numbers, G groups of keys and queries of X numbers.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from llmkit.model.config import ModelConfig
from llmkit.model.config_states import MultipliersConfig
from llmkit.model.transformer import Transformer

_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"


def absorbed(model: Transformer) -> Transformer:
    """A model that computes the same and multiplies with nothing beside its weights; itself where it does so.

    What is scaled is float32. A head that was the embedding becomes one of its own where the two are not
    scaled alike.

    Args:
        model: left as it is; on any device.
    """
    config = model.config
    if config.multipliers is None or _is_plain(config):
        return model
    state = dict(model.state_dict())
    tied = config.tie_word_embeddings and config.embedding_scale == config.logit_scale
    if not tied:
        state[_HEAD] = state.get(_HEAD, state[_EMBEDDING])
    for name, factor in _factors(config, state):
        state[name] = state[name].float() * factor
    plain: dict[str, Any] = {"embedding_scale": 1.0, "logit_scale": 1.0, "multipliers": MultipliersConfig()}
    with torch.device("meta"):
        made = Transformer(replace(config, tie_word_embeddings=tied, **plain))
    made.load_state_dict(state, assign=True)
    return made.eval()


def _is_plain(config: ModelConfig) -> bool:
    scaled = config.embedding_scale != 1.0 or config.logit_scale != 1.0
    return config.multipliers == MultipliersConfig() and not scaled


def _factors(config: ModelConfig, state: dict[str, Tensor]) -> Iterator[tuple[str, float | Tensor]]:
    """Weights, and what each is multiplied with."""
    told, mamba = config.multipliers, config.mamba
    assert told is not None and mamba is not None
    keys = mamba.num_groups * mamba.state_size
    rows = mamba.width, mamba.width, keys, keys, mamba.num_heads
    device = state[_EMBEDDING].device
    parts = zip(rows, told.state_inputs, strict=True)
    inputs = torch.cat([torch.full((count, 1), factor, device=device) for count, factor in parts])
    each: dict[str, float | Tensor] = {
        **dict.fromkeys(("self_attn.q_proj", "self_attn.v_proj"), told.attention_in),
        **{"self_attn.k_proj": told.attention_in * told.key, "self_attn.o_proj": told.attention_out},
        **{"mamba.in_proj": inputs, "mamba.out_proj": told.state_out},
        **{"mlp.gate_proj": told.mlp_gate, "mlp.down_proj": told.mlp_out},
    }
    for layer in range(config.num_hidden_layers):
        for module, factor in each.items():
            yield f"model.layers.{layer}.{module}.weight", factor
    yield _EMBEDDING, config.embedding_scale
    if _HEAD in state:
        yield _HEAD, config.logit_scale
