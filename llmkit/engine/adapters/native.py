"""Adapters as the kernels read them, and which they cannot.

Shapes: r rank.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np
from torch import Tensor

from llmkit.engine.adapters.values import Adapter
from llmkit.engine.native.vectors import half_by_half, queries_and_gates
from llmkit.kernels.coded import Order
from llmkit.kernels.forward_adapters import ADDITIONS, AdapterStructs, LowRankWeights
from llmkit.kernels.memory import Floats
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import LatentConfig
from llmkit.model.config_states import DeltaConfig
from llmkit.model.recurrent.key_heads import inputs_by_head, rates_by_head
from llmkit.model.shapes import mixer_name

_MLP = {name: (f"mlp.{name}_proj", None) for name in ("gate", "up", "down")}
_SHARED = {name: (f"mlp.shared_expert.{name}_proj", None) for name in _MLP}
_OWN = {"own_gate": ("own_input.gate", None), "own_out": ("own_input.projection", None)}
_LAYER = re.compile(r"(model\.layers\.(\d+))\.(.+)")
Places = Mapping[str, tuple[str, Order | None]]
"""Of each product that is added to the module of a layer, and which of its rows; None: all."""


def why_not_added_natively(modules: Iterable[str], config: ModelConfig) -> str | None:
    """Why the kernels cannot add to modules' products, to follow "the native library"; None: they can."""
    wrong = next((module for module in modules if not _is_added_to(module, config)), None)
    return None if wrong is None else f"adds nothing to {wrong}"


def native_adapter(adapter: Adapter, config: ModelConfig) -> AdapterStructs:
    """An adapter's additions where the kernels look for them; memory is shared with the adapter.

    Args:
        adapter: one for which there is no reason why not.
        config: of the base.
    """
    layers = []
    for layer in range(config.num_hidden_layers):
        places, begin = _places(config, layer), f"model.layers.{layer}"
        layers.append([_weights(adapter, begin, places.get(name)) for name in ADDITIONS])
    return AdapterStructs(layers)


def _is_added_to(module: str, config: ModelConfig) -> bool:
    found = _LAYER.fullmatch(module)
    if found is None or int(found[2]) >= config.num_hidden_layers:
        return False
    return found[3] in {place for place, _ in _places(config, int(found[2])).values()}


def _places(config: ModelConfig, layer: int) -> Places:
    if config.lone_mlps is None:
        own = {} if config.own_inputs is None else _OWN
        return {**_mlp(config, layer), **_mixer(config, layer), **own}
    return _mlp(config, layer) if layer in config.lone_mlps else _mixer(config, layer)


def _mlp(config: ModelConfig, layer: int) -> Places:
    """Of experts the one that all tokens use."""
    if config.experts is None or layer not in config.experts.layers:
        return _MLP
    return _SHARED if config.experts.shared_intermediate_size else {}


def _mixer(config: ModelConfig, layer: int) -> Places:
    if config.has_both and layer in config.state_layers:
        states = {"state_in": ("mamba.in_proj", None), "state_out": ("mamba.out_proj", None)}
        return {**_attention(config), **states}
    if layer not in config.state_layers:
        return _attention(config) if config.latent is None else _latent_attention(config, config.latent)
    if config.delta is not None:
        return {**_rule(config.delta), "o": ("linear_attn.out_proj", None)}
    name = mixer_name(config, layer)
    return {"q": (f"{name}.in_proj", None), "o": (f"{name}.out_proj", None)}


def _rule(delta: DeltaConfig) -> Places:
    """Inputs, gates, rates and decays of the gated delta rule."""
    modules = ["qkv", "z", "b", "a"]
    orders: list[Order | None] = [None] * 4
    if delta.inputs_by_head:
        modules, orders = ["qkvz", "qkvz", "ba", "ba"], [*inputs_by_head(delta), *rates_by_head(delta)]
    places = zip((f"linear_attn.in_proj_{one}" for one in modules), orders, strict=True)
    return dict(zip(("q", "k", "v", "attention_gate"), places, strict=True))


def _attention(config: ModelConfig) -> Places:
    """Rows of queries and keys as the base's own are turned."""
    E = config.head_dim
    orders = {
        name: half_by_half(config, np.arange(heads * E)) if config.rope_interleaved else None
        for name, heads in {"q": config.num_attention_heads, "k": config.num_key_value_heads}.items()
    }
    places = {name: (f"self_attn.{name}_proj", orders.get(name)) for name in "qkvo"}
    if config.attention_gate:
        asked, gates = queries_and_gates(config)
        places |= {"q": ("self_attn.q_proj", asked), "attention_gate": ("self_attn.q_proj", gates)}
    return places


def _latent_attention(config: ModelConfig, latent: LatentConfig) -> Places:
    """Queries, by way of a rank or straight; what is kept, and the keys and values that are made of it."""

    def turned(size: int, head_dim: int) -> Order | None:
        return half_by_half(config, np.arange(size), head_dim=head_dim) if config.rope_interleaved else None

    row = latent.kv_lora_rank + latent.qk_rope_head_dim
    asked = turned(config.num_attention_heads * config.head_dim, config.head_dim)
    places: dict[str, tuple[str, Order | None]] = {
        "q": ("self_attn.q_b_proj" if latent.q_lora_rank else "self_attn.q_proj", asked),
        "k": ("self_attn.kv_a_proj_with_mqa", turned(row, row)),
        "v": ("self_attn.kv_b_proj", None),
        "o": ("self_attn.o_proj", None),
    }
    return places | ({"attention_gate": ("self_attn.q_a_proj", None)} if latent.q_lora_rank else {})


def _weights(adapter: Adapter, layer: str, place: tuple[str, Order | None] | None) -> LowRankWeights | None:
    if place is None or (addition := adapter.additions.get(f"{layer}.{place[0]}")) is None:
        return None
    a, b = _floats(addition.a), _floats(addition.b)
    factors = None if addition.factors is None else _floats(addition.factors)
    if (order := place[1]) is not None:
        b = np.ascontiguousarray(b[:, order])
        factors = None if factors is None else factors[order]
    return LowRankWeights(a, b, factors)


def _floats(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(tensor.numpy())
