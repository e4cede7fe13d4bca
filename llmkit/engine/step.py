"""One more token through the model: the arithmetic of `model/transformer.py` for one position, laid out flat.

Most of a small model's time goes to calling modules and making views, so the weights of each layer are taken
out once and the operations called directly. A test holds every step against the modules. Models
with parts that are not laid out here go through their modules.
Shapes: D hidden_size, H query heads, K key/value heads, E head_dim, S positions so far, V vocab_size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.config import ModelConfig
from llmkit.model.mlp import ACTIVATION_FUNCTIONS
from llmkit.model.norm import RMSNorm
from llmkit.model.positions import SinusoidalPositions
from llmkit.model.rope_scaling import depends_on_length
from llmkit.model.transformer import Transformer

Function = Callable[[Tensor], Tensor]
Memory = Sequence[tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True)
class _Layer:
    """What a layer does to a row, part by part; None where the model has no such part."""

    norm: Function
    q: Function
    k: Function
    v: Function
    o: Function
    q_norm: Function | None
    k_norm: Function | None
    mlp_norm: Function
    gate: Function | None
    up: Function
    down: Function


def is_flat(config: ModelConfig) -> bool:
    """Whether a model has no part but those that `FlatStep` lays out."""
    parts = (config.latent, config.delta, config.short_conv, config.mamba, config.lone_mlps, config.experts)
    caps = (config.attn_logit_softcapping, config.final_logit_softcapping)
    scales = (config.embedding_scale, config.residual_scale, config.logit_scale)
    return (
        all(part is None for part in (*parts, *caps))
        and all(scale == 1.0 for scale in scales)
        and config.residual == "serial"
        and config.norm_placement == "before"
        and config.qk_norm in ("none", "head")
        and not (config.sliding_layers or config.no_rope_layers or config.attention_sinks or config.head_bias)
        and not (
            config.attention_gate or config.norm_plus_one or config.attention_scale or config.rope_interleaved
        )
        and not config.query_growth
        and config.hidden_act in ACTIVATION_FUNCTIONS
        and not depends_on_length(config.rope_scaling)
        and config.rotary_dim in (0, config.head_dim)
    )


class FlatStep:
    """Takes in one token and scores the next. Its weights are the model's own, not copies."""

    def __init__(self, model: Transformer) -> None:
        config, decoder = model.config, model.model
        self._query_heads = config.num_attention_heads
        self._query_groups = (1, config.num_key_value_heads, -1, config.head_dim)  # (1, K, H / K, E)
        self._head_dim = config.head_dim
        self._act = ACTIVATION_FUNCTIONS[config.hidden_act]
        self._layers = [_layer(block) for block in decoder.layers]
        self._norm = _norm(decoder.norm)
        self._embedding = decoder.embed_tokens.weight
        self._head: Any = model.lm_head.weight
        self._added = _added_positions(decoder.embed_positions, self._embedding.dtype)
        self._rope = decoder.rope
        self._cos = self._sin = torch.empty(0, config.head_dim, dtype=self._embedding.dtype)

    def __call__(self, token: int, at: int, first: int, memory: Memory) -> Tensor:
        """The scores (V,) of what follows a token of one text.

        Args:
            token: the text's last.
            at: its position.
            first: where in memory the text's positions begin; they lie side by side.
            memory: each layer's keys and values, (positions of all texts, K, E). The token's are added.
        """
        x = self._embedding[token : token + 1]  # (1, D)
        if self._added is not None:
            x = x + self._added[at : at + 1]
        if self._rope is not None and at >= len(self._cos):
            self._grow(at + 1)
        place = first + at
        for layer, held in zip(self._layers, memory, strict=True):
            x = x + self._attend(layer, layer.norm(x), held[0], held[1], at, first, place)
            x = x + self._feed(layer, layer.mlp_norm(x))
        return F.linear(self._norm(x), self._head)[0]

    def _grow(self, positions: int) -> None:
        assert self._rope is not None
        cos, sin = self._rope.table(positions, self._embedding.device)
        both = torch.cat((cos, cos), 1), torch.cat((-sin, sin), 1)  # (S, E), the signs of `rope.rotate`
        self._cos, self._sin = both[0].to(self._embedding.dtype), both[1].to(self._embedding.dtype)

    def _attend(
        self, layer: _Layer, x: Tensor, keys: Tensor, values: Tensor, at: int, first: int, place: int
    ) -> Tensor:
        """x: (1, D), which stands at position `at`. Returns (1, D)."""
        q, k = layer.q(x).view(-1, self._head_dim), layer.k(x).view(-1, self._head_dim)  # (H, E), (K, E)
        if layer.q_norm is not None and layer.k_norm is not None:
            q, k = layer.q_norm(q), layer.k_norm(k)
        if self._rope is not None:
            heads = torch.cat((q, k))
            heads = torch.addcmul(heads * self._cos[at], heads.roll(self._head_dim // 2, 1), self._sin[at])
            q, k = heads[: self._query_heads], heads[self._query_heads :]
        keys[place] = k
        values[place] = layer.v(x).view(-1, self._head_dim)
        q = q.view(self._query_groups)  # a group's heads as rows: the same for one position, no key is copied
        seen = slice(first, place + 1)
        y = F.scaled_dot_product_attention(
            q, keys[seen].transpose(0, 1)[None], values[seen].transpose(0, 1)[None]
        )
        return layer.o(y.reshape(1, -1))

    def _feed(self, layer: _Layer, x: Tensor) -> Tensor:
        """x: (1, D). Returns (1, D)."""
        if layer.gate is None:
            return layer.down(self._act(layer.up(x)))
        return layer.down(self._act(layer.gate(x)).mul_(layer.up(x)))


def _layer(block: Any) -> _Layer:
    attention, mlp = block.self_attn, block.mlp
    return _Layer(
        norm=_norm(block.input_layernorm),
        q=_linear(attention.q_proj),
        k=_linear(attention.k_proj),
        v=_linear(attention.v_proj),
        o=_linear(attention.o_proj),
        q_norm=None if attention.q_norm is None else _norm(attention.q_norm),
        k_norm=None if attention.k_norm is None else _norm(attention.k_norm),
        mlp_norm=_norm(block.post_attention_layernorm),
        gate=_linear(mlp.gate_proj) if hasattr(mlp, "gate_proj") else None,
        up=_linear(mlp.up_proj),
        down=_linear(mlp.down_proj),
    )


def _linear(module: nn.Linear) -> Function:
    return partial(F.linear, weight=module.weight, bias=module.bias)


def _norm(module: nn.Module) -> Function:
    if isinstance(module, RMSNorm):
        shape = tuple(module.weight.shape)
        return partial(torch.rms_norm, normalized_shape=shape, weight=module.weight, eps=module.eps)
    return module  # LayerNorm: one call


def _added_positions(module: nn.Module | None, dtype: torch.dtype) -> Tensor | None:
    """The table of positions that are added to embeddings, (S, D); None where positions rotate."""
    if module is None:
        return None
    table = module.table if isinstance(module, SinusoidalPositions) else module.weight
    assert isinstance(table, Tensor)
    return table.to(dtype)
