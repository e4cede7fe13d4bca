"""Causal grouped-query attention.

Shapes: B batch, T new positions, S all positions (cached and new), D hidden_size, H query heads,
K key/value heads, E head_dim.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.attend import attend, attend_row, joined
from llmkit.model.config import ModelConfig
from llmkit.model.documents import DTYPES, attend_documents
from llmkit.model.held import HeldLayer
from llmkit.model.here import here
from llmkit.model.joined_linear import linear_layers
from llmkit.model.layer_sizes import head_sizes, kv_owner, kv_owners, values_are_keys
from llmkit.model.layout import Layout
from llmkit.model.learnt.attention import attend_learning, learns_here
from llmkit.model.learnt.operations import takes
from llmkit.model.learnt.rotation import rotated
from llmkit.model.norm import norm_of_width
from llmkit.model.rope import rotate
from llmkit.model.shared_keys import TextKeys


class Attention(nn.Module):
    """Attention (1706.03762) with grouped queries (2305.13245) and rotary positions (2104.09864)."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        """
        Args:
            config: of the model.
            layer: its number, from 0.
        """
        super().__init__()
        D, H = config.hidden_size, config.num_attention_heads
        K, E = head_sizes(config, layer)
        self.has_keys = kv_owner(config, layer) == layer
        """False: it reads those of an earlier layer."""
        self.shares_keys = layer in kv_owners(config)
        self.head_dim = E
        self.scale = config.score_scale
        self.softcap = config.attn_logit_softcapping
        self.interleaved = config.rope_interleaved
        self.norm_over_heads = config.qk_norm == "projection"
        self.norm_per_head = config.qk_norm == "head"
        self.norm_after_rotation = config.qk_norm == "rotated"
        self.has_gate = config.attention_gate
        self.q_proj = nn.Linear(D, H * E * (2 if self.has_gate else 1), bias=config.attention_bias)
        self.k_proj = nn.Linear(D, K * E, bias=config.attention_bias) if self.has_keys else None
        has_values = self.has_keys and not values_are_keys(config, layer)
        self.v_proj = nn.Linear(D, K * E, bias=config.attention_bias) if has_values else None
        self.o_proj = nn.Linear(H * E, D, bias=config.output_bias)
        self.unweighted_eps = config.norm_eps if config.qk_norm == "unweighted" else None
        one, all_ = (E, E), (H * E, K * E)
        widths = {"head": one, "projection": all_, "rotated": one}.get(config.qk_norm)
        self.q_norm = None if widths is None else norm_of_width(config, widths[0])
        self.value_eps = config.norm_eps if config.value_norm else None
        self.k_norm = None if widths is None or not self.has_keys else norm_of_width(config, widths[1])
        self.sinks = nn.Parameter(torch.zeros(H)) if config.attention_sinks else None

    def forward(self, x: Tensor, layout: Layout, cache: HeldLayer | None = None) -> Tensor:
        """x: (B, T, D). Returns (B, T, D).

        Of `cache` a layer that reads another's keys and values asks only whether there is one.
        """
        B, T, _ = x.shape
        q, own, gate = self._read(x, layout)
        if own is None:
            texts: Iterable[TextKeys] = layout.shared.texts if layout.shared is not None else ()
        else:
            texts = self._kept(*own, layout, cache)
        if cache is None:
            [whole] = texts
            y = self._attend_row(q, whole.keys, whole.values, layout)
        else:  # text by text, each with all of its keys and values
            y = joined([self._attend(q[:, :, one.part], one.keys, one.values, one.mask) for one in texts])
        y = y.transpose(1, 2).reshape(B, T, -1)
        return self.o_proj(y if gate is None else y * gate)

    def qkv(self, x: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Queries (B, H, T, E), keys and values (B, K, T, E), after norms and rotation; and the gates of what
        each head takes home, (B, T, H E), or None.

        What a module with keys of its own attends with, for who wants to look on as well.
        """
        q, own, gate = self._read(x, layout)
        assert own is not None
        return q, *own, gate

    def _kept(self, k: Tensor, v: Tensor, layout: Layout, cache: HeldLayer | None) -> Iterable[TextKeys]:
        """All keys and values of each text, of which these are the new ones; left for who reads them too."""
        if cache is None:
            texts: Iterable[TextKeys] = (TextKeys(slice(None), k, v, layout.mask),)
        else:
            texts = (TextKeys(part, k, v, mask) for part, (k, v), mask in cache.extend((k, v), layout))
        if layout.shared is not None and self.shares_keys:
            texts = layout.shared.texts = tuple(texts)
        return texts

    def _read(self, x: Tensor, layout: Layout) -> tuple[Tensor, tuple[Tensor, Tensor] | None, Tensor | None]:
        """Queries, keys with values where the layer has its own, and gates, as `qkv` has them."""
        B, T, _ = x.shape
        gate = None
        projections = (self.q_proj, self.k_proj, self.v_proj)
        q, *others = linear_layers(x, *(one for one in projections if one is not None))
        if self.has_gate:
            q, gate = (one.flatten(2) for one in q.unflatten(2, (-1, 2, self.head_dim)).unbind(3))
            gate = gate.sigmoid()
        q = self._turned(q, self.q_norm, layout)
        if layout.query_scale is not None:
            q = q * layout.query_scale.to(q.dtype)
        if not others:
            return q, None, gate
        k, v = self._turned(others[0], self.k_norm, layout), others[-1]  # one matrix may make both
        v = v.view(B, T, -1, self.head_dim).transpose(1, 2)
        if self.value_eps is not None:
            v = F.rms_norm(v, (self.head_dim,), eps=self.value_eps)
        return q, (k, v), gate

    def _turned(self, heads: Tensor, norm: nn.Module | None, layout: Layout) -> Tensor:
        """Queries or keys, (B, T, heads E), by heads, (B, heads, T, E), after their norm and rotation."""
        heads = self._normed(heads, norm)
        if layout.cos is not None and layout.sin is not None:
            heads = self._rotated(heads, layout.cos, layout.sin)
            if self.unweighted_eps is not None:
                heads = F.rms_norm(heads, (self.head_dim,), eps=self.unweighted_eps)
        return norm(heads) if norm is not None and self.norm_after_rotation else heads

    def _rotated(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        if not self.interleaved and takes(x, x.dtype):
            return rotated(x, cos, sin)
        return rotate(x, cos.to(x.dtype), sin.to(x.dtype), interleaved=self.interleaved)

    def _attend_row(self, q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
        """Whole rows, of one document each or of several."""
        plain = self.softcap is None and self.sinks is None
        if layout.starts is not None and plain and q.dtype in DTYPES:
            return attend_documents(q, k, v, layout.starts, scale=self.scale, window=layout.window.size)
        if learns_here(q, v, layout):
            sinks = here(self.sinks)
            first, scale, softcap = layout.first, self.scale, self.softcap
            return attend_learning(q, k, v, first, scale=scale, softcap=softcap, sinks=sinks)
        return attend_row(q, k, v, layout, self._attend, plain=plain)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return attend(q, k, v, mask, scale=self.scale, softcap=self.softcap, sinks=here(self.sinks))

    def _normed(self, heads: Tensor, norm: nn.Module | None) -> Tensor:
        """Queries or keys by heads, after their norm, but for one that comes after the rotation."""
        B, T, _ = heads.shape
        if norm is not None and self.norm_over_heads:
            heads = norm(heads)
        heads = heads.view(B, T, -1, self.head_dim)
        if norm is not None and self.norm_per_head:
            heads = norm(heads)
        return heads.transpose(1, 2)
