"""Causal grouped-query attention.

Shapes: B batch, T new positions, S all positions (cached and new), D hidden_size, H query heads,
K key/value heads, E head_dim.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.cache import LayerCache
from llmkit.model.config import ModelConfig
from llmkit.model.norm import RMSNorm
from llmkit.model.rope import rotate


@dataclass(frozen=True)
class Layout:
    """Where the new positions stand and what they may see: the same for every layer, made once a pass."""

    cos: Tensor | None = None
    """(T, E / 2) or (B, 1, T, E / 2); None where positions are added to the embeddings."""
    sin: Tensor | None = None
    mask: Tensor | None = None
    """(T, S) or (B, 1, T, S) bool, True where a query may look; None for plain causal attention."""


class Attention(nn.Module):
    """Attention (1706.03762) with grouped queries (2305.13245) and rotary positions (2104.09864)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D, E = config.hidden_size, config.head_dim
        H, K = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = E
        self.grouped = H != K
        self.q_proj = nn.Linear(D, H * E, bias=config.attention_bias)
        self.k_proj = nn.Linear(D, K * E, bias=config.attention_bias)
        self.v_proj = nn.Linear(D, K * E, bias=config.attention_bias)
        self.o_proj = nn.Linear(H * E, D, bias=config.output_bias)
        self.q_norm = RMSNorm(E, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(E, config.norm_eps) if config.qk_norm else None

    def forward(self, x: Tensor, layout: Layout, cache: LayerCache | None = None) -> Tensor:
        """x: (B, T, D). Returns (B, T, D)."""
        B, T, _ = x.shape
        q = self.q_proj(x).view(B, T, -1, self.head_dim)
        k = self.k_proj(x).view(B, T, -1, self.head_dim)
        v = self.v_proj(x).view(B, T, -1, self.head_dim).transpose(1, 2)  # (B, K, T, E)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = q.transpose(1, 2), k.transpose(1, 2)  # (B, H, T, E), (B, K, T, E)
        if layout.cos is not None and layout.sin is not None:
            cos, sin = layout.cos.to(q.dtype), layout.sin.to(q.dtype)
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            k, v = cache.append(k, v)  # (B, K, S, E)
            k, v = k.to(q.dtype), v.to(q.dtype)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=layout.mask, is_causal=layout.mask is None and T > 1, enable_gqa=self.grouped
        )  # (B, H, T, E)
        return self.o_proj(y.transpose(1, 2).reshape(B, T, -1))


def document_mask(segments: Tensor) -> Tensor:
    """Causal attention within a document: (B, T) document numbers to a (B, 1, T, T) bool mask."""
    T = segments.shape[1]
    causal = torch.ones(T, T, dtype=torch.bool, device=segments.device).tril()
    return (segments[:, None, :, None] == segments[:, None, None, :]) & causal


def chunk_mask(start: int, length: int, device: torch.device) -> Tensor:
    """Causal attention of `length` new positions after `start` cached ones: a (T, S) bool mask."""
    return torch.ones(length, start + length, dtype=torch.bool, device=device).tril(start)
