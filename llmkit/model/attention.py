"""Causal grouped-query attention.

Shapes: B batch, T new positions, S all positions (cached and new), D hidden_size, H query heads,
K key/value heads, E head_dim.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.attend import attend, attend_row, joined
from llmkit.model.cache import HeldLayer
from llmkit.model.config import ModelConfig
from llmkit.model.documents import DTYPES, attend_documents
from llmkit.model.here import here
from llmkit.model.joined_linear import linear_layers
from llmkit.model.layout import Layout
from llmkit.model.learnt.attention import attend_learning, learns_here
from llmkit.model.learnt.operations import takes
from llmkit.model.learnt.rotation import rotated
from llmkit.model.norm import norm_of_width
from llmkit.model.rope import rotate


class Attention(nn.Module):
    """Attention (1706.03762) with grouped queries (2305.13245) and rotary positions (2104.09864)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D, E = config.hidden_size, config.head_dim
        H, K = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = E
        self.scale = config.score_scale
        self.softcap = config.attn_logit_softcapping
        self.interleaved = config.rope_interleaved
        self.norm_over_heads = config.qk_norm == "projection"
        self.norm_per_head = config.qk_norm == "head"
        self.norm_after_rotation = config.qk_norm == "rotated"
        self.has_gate = config.attention_gate
        self.q_proj = nn.Linear(D, H * E * (2 if self.has_gate else 1), bias=config.attention_bias)
        self.k_proj = nn.Linear(D, K * E, bias=config.attention_bias)
        self.v_proj = nn.Linear(D, K * E, bias=config.attention_bias)
        self.o_proj = nn.Linear(H * E, D, bias=config.output_bias)
        self.unweighted_eps = config.norm_eps if config.qk_norm == "unweighted" else None
        one, all_ = (E, E), (H * E, K * E)
        widths = {"head": one, "projection": all_, "rotated": one}.get(config.qk_norm)
        self.q_norm = None if widths is None else norm_of_width(config, widths[0])
        self.k_norm = None if widths is None else norm_of_width(config, widths[1])
        self.sinks = nn.Parameter(torch.zeros(H)) if config.attention_sinks else None

    def forward(self, x: Tensor, layout: Layout, cache: HeldLayer | None = None) -> Tensor:
        """x: (B, T, D). Returns (B, T, D)."""
        B, T, _ = x.shape
        q, k, v, gate = self.qkv(x, layout)
        if cache is None:
            y = self._attend_row(q, k, v, layout)
        else:  # text by text, each with all of its keys and values, (B, K, S, E)
            texts = cache.extend((k, v), layout)
            y = joined([self._attend(q[:, :, part], k, v, mask) for part, (k, v), mask in texts])
        y = y.transpose(1, 2).reshape(B, T, -1)
        return self.o_proj(y if gate is None else y * gate)

    def qkv(self, x: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Queries (B, H, T, E), keys and values (B, K, T, E), after norms and rotation; and the gates of what
        each head takes home, (B, T, H E), or None.

        What the module attends with, for who wants to look on as well.
        """
        B, T, _ = x.shape
        gate = None
        q, k, v = linear_layers(x, self.q_proj, self.k_proj, self.v_proj)
        if self.has_gate:
            q, gate = (one.flatten(2) for one in q.unflatten(2, (-1, 2, self.head_dim)).unbind(3))
            gate = gate.sigmoid()
        q, k = self._normed(q, k)
        v = v.view(B, T, -1, self.head_dim).transpose(1, 2)
        if layout.cos is not None and layout.sin is not None:
            q, k = (self._rotated(one, layout.cos, layout.sin) for one in (q, k))
            if self.unweighted_eps is not None:
                q, k = (F.rms_norm(one, (self.head_dim,), eps=self.unweighted_eps) for one in (q, k))
        if self.q_norm is not None and self.k_norm is not None and self.norm_after_rotation:
            q, k = self.q_norm(q), self.k_norm(k)
        if layout.query_scale is not None:
            q = q * layout.query_scale.to(q.dtype)
        return q, k, v, gate

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

    def _normed(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys by heads, after their norms, but for those that come after the rotation."""
        B, T, _ = q.shape
        if self.q_norm is not None and self.k_norm is not None and self.norm_over_heads:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = q.view(B, T, -1, self.head_dim), k.view(B, T, -1, self.head_dim)
        if self.q_norm is not None and self.k_norm is not None and self.norm_per_head:
            q, k = self.q_norm(q), self.k_norm(k)
        return q.transpose(1, 2), k.transpose(1, 2)
