"""Adapters as the kernels read them, and which they cannot.

Shapes: r rank.
"""

import re
from collections.abc import Iterable

import numpy as np
from torch import Tensor

from llmkit.engine.adapters.values import Adapter, Addition
from llmkit.engine.native.vectors import half_by_half
from llmkit.kernels.forward_adapters import ADDITIONS, AdapterStructs, LowRankWeights
from llmkit.kernels.memory import Floats
from llmkit.model.config import ModelConfig

_MODULES = {
    **{name: f"self_attn.{name}_proj" for name in "qkvo"},
    **{name: f"mlp.{name}_proj" for name in ("gate", "up", "down")},
}
_KNOWN = re.compile(rf"model\.layers\.\d+\.({'|'.join(map(re.escape, _MODULES.values()))})")


def why_not_added_natively(modules: Iterable[str], config: ModelConfig) -> str | None:
    """Why the kernels cannot add to modules' products, to follow "the native library"; None: they can."""
    wrong = next((module for module in modules if not _is_added_to(module, config)), None)
    return None if wrong is None else f"adds nothing to {wrong}"


def _is_added_to(module: str, config: ModelConfig) -> bool:
    """Queries that come with attention's gate are two products there."""
    gated = config.attention_gate and module.endswith("q_proj")
    return _KNOWN.fullmatch(module) is not None and not gated


def native_adapter(adapter: Adapter, config: ModelConfig) -> AdapterStructs:
    """An adapter's additions where the kernels look for them; memory is shared with the adapter.

    Args:
        adapter: one for which there is no reason why not.
        config: of the base.
    """
    layers = []
    for layer in range(config.num_hidden_layers):
        places = [f"model.layers.{layer}.{_MODULES[name]}" for name in ADDITIONS]
        layers.append([_weights(adapter.additions.get(place), config, place) for place in places])
    return AdapterStructs(layers)


def _weights(addition: Addition | None, config: ModelConfig, place: str) -> LowRankWeights | None:
    if addition is None:
        return None
    a, b = _floats(addition.a), _floats(addition.b)
    factors = None if addition.factors is None else _floats(addition.factors)
    if config.rope_interleaved and place.endswith(("q_proj", "k_proj")):  # as the base's own rows
        b = np.ascontiguousarray(half_by_half(config, b.T).T)
        factors = None if factors is None else half_by_half(config, factors)
    return LowRankWeights(a, b, factors)


def _floats(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(tensor.numpy())
