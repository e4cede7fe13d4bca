"""Queries, keys and values to what each query takes home: softmax attention, with soft-capping and sinks.

Shapes: B batch, T queries, S keys, H query heads, K key/value heads, E head_dim, X numbers of a value.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from llmkit.model.dtypes import computed_dtype
from llmkit.model.layout import Layout

_SCORES = 1 << 24
"""Most scores held at once where they are written out: 64 MiB of float32."""


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    *,
    scale: float,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention of the last T of S positions.

    Args:
        q: (B, H, T, E).
        k: (B, K, S, E); H is a multiple of K.
        v: (B, K, S, X).
        mask: (T, S) or (B, 1, T, S) bool, True where a query may look; None for plain causal attention. Or,
            where scores are neither capped nor have sinks, what is added to them.
        scale: what scores are multiplied with.
        softcap: scores s become c tanh(s / c) (Gemma 2).
        sinks: (H,) scores of a key that every query sees and that has no value (gpt-oss).

    Returns:
        (B, H, T, X).
    """
    T, grouped = q.shape[2], q.shape[1] != k.shape[1]
    if softcap is None and sinks is None:
        causal = mask is None and T > 1
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=grouped
        )
    if mask is None and T > 1:
        mask = torch.ones(T, k.shape[2], dtype=torch.bool, device=q.device).tril(k.shape[2] - T)
    rows = max(1, _SCORES // (q.shape[0] * q.shape[1] * k.shape[2]))
    parts = [_written_out(part, k, v, seen, scale, softcap, sinks) for part, seen in _queries(q, mask, rows)]
    return joined(parts)


def attend_row(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    attend_to: Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor],
    *,
    plain: bool = True,
) -> Tensor:
    """Attention within rows, or of the positions here to all of their rows.

    Args:
        q: (B, H, T, E).
        k: (B, K, T, E).
        v: (B, K, T, X).
        layout: of the positions here.
        attend_to: from queries, keys, values and a mask to what the queries take home.
        plain: scores are not capped and have no sinks: a kernel makes them.

    Returns:
        (B, H, T, X).
    """
    if layout.parts is None:
        return attend_to(q, k, v, layout.mask)
    k, v = layout.parts.gather(k, v)
    dtype = computed_dtype(q)
    taken = []
    for one in layout.stretches:
        mask = one.added(dtype) if plain else one.mask
        taken.append(attend_to(q[:, :, one.queries], k[:, :, one.keys], v[:, :, one.keys], mask))
    return joined(taken)


def joined(parts: list[Tensor]) -> Tensor:
    """What the texts of a pass take home, (B, H, T, X) each, end to end."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _queries(q: Tensor, mask: Tensor | None, rows: int) -> list[tuple[Tensor, Tensor | None]]:
    """Queries in runs of so many, each with its part of the mask."""
    T = q.shape[2]
    return [
        (q[:, :, at : at + rows], None if mask is None else mask[..., at : at + rows, :])
        for at in range(0, T, rows)
    ]


def _written_out(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    scale: float,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """Step by step: scores, cap, mask, softmax in float32, weighted sum."""
    B, H, T, _ = q.shape
    K = k.shape[1]
    grouped = q.reshape(B, K, H // K * T, -1)  # a group's queries as rows: no key is copied
    scores = (grouped @ k.transpose(2, 3)).view(B, H, T, -1).float() * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    if sinks is not None:
        scores = torch.cat((scores, sinks.float().view(1, H, 1, 1).expand(B, H, T, 1)), dim=-1)
    weights = scores.softmax(dim=-1)
    if sinks is not None:
        weights = weights[..., :-1]
    return (weights.to(v.dtype).reshape(B, K, H // K * T, -1) @ v).view(B, H, T, -1)
