"""Attention within rows in training on a CPU, by the native kernels, which take a third of PyTorch's time.

Shapes: B rows, T positions, H query heads, K key/value heads, E numbers of a key, X of a value.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from llmkit.kernels.learn import HEAD_DIM_STEP, LearntAttentionStruct, learnt_attention
from llmkit.model.dtypes import computed_dtype
from llmkit.model.layout import Layout
from llmkit.model.learnt.operations import TYPES, define, strides, takes, with_neighbours


def learns_here(q: Tensor, v: Tensor, layout: Layout) -> bool:
    """Whether the kernels take these queries and values, and what the layout lets them see."""
    is_told = layout.parts is None and (layout.mask is None or layout.first is not None)
    fits = q.shape[-1] % HEAD_DIM_STEP == 0 and v.shape[-1] % HEAD_DIM_STEP == 0
    return is_told and fits and takes(q, computed_dtype(q))


def attend_learning(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    first: Tensor | None,
    *,
    scale: float,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Causal attention whose gradient is worked out without the scores having been kept.

    Args:
        q: (B, H, T, E), float32 or bfloat16; under autocast what it is there.
        k: (B, K, T, E); H is a multiple of K.
        v: (B, K, T, X).
        first: (B, T) or (T,) int32, the first position that each sees, no later one's being earlier; None:
            all see the whole row before them.
        scale: what scores are multiplied with.
        softcap: scores s become c tanh(s / c) (Gemma 2).
        sinks: (H,) scores of a key that every query sees and that has no value (gpt-oss).

    Returns:
        (B, H, T, X); in memory positions come before heads.
    """
    q, k, v = (with_neighbours(one.to(computed_dtype(q))) for one in (q, k, v))
    if first is not None:
        first = first.expand(q.shape[0], -1).contiguous()
    if sinks is not None:
        sinks = sinks.float().contiguous()
    out: Tensor = torch.ops.llmkit.learnt_attention(q, k, v, first, sinks, scale, softcap or 0.0)[0]
    return out.transpose(1, 2)


def _forward(
    q: Tensor, k: Tensor, v: Tensor, first: Tensor | None, sinks: Tensor | None, scale: float, softcap: float
) -> tuple[Tensor, Tensor]:
    """What queries take home, (B, T, H, X), and the logarithm of the sum of their exponentials, (B, H, T)."""
    out, lse = _room(q, k, v)
    _call(scale, softcap, q=q, k=k, v=v, first=first, sinks=sinks, out=out, lse=lse)
    return out, lse


def _room(q: Tensor, k: Tensor, v: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    B, H, T, _ = q.shape
    return q.new_empty(B, T, H, v.shape[-1]), q.new_empty(B, H, T, dtype=torch.float32)


def _backward(
    g: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    first: Tensor | None,
    scale: float,
    softcap: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of queries, keys and values, (B, T, heads, ...), from that of what was taken home."""
    d_q, d_k, d_v = _gradients(g, q, k, v)
    g = with_neighbours(g.transpose(1, 2))
    learnt = {"d_q": d_q, "d_k": d_k, "d_v": d_v}
    _call(scale, softcap, q=q, k=k, v=v, g=g, first=first, out=out, lse=lse, **learnt)
    return d_q, d_k, d_v


def _gradients(g: Tensor, q: Tensor, k: Tensor, v: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Room for them."""
    B, H, T, E = q.shape
    K, X = v.shape[1], v.shape[-1]
    return q.new_empty(B, T, H, E), k.new_empty(B, T, K, E), v.new_empty(B, T, K, X)


class _LearntAttention(torch.autograd.Function):
    """The two operations as one with a gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        first: Tensor | None,
        sinks: Tensor | None,
        scale: float,
        softcap: float,
    ) -> tuple[Tensor, Tensor]:
        with torch._C._AutoDispatchBelowAutograd():
            out, lse = torch.ops.llmkit.learnt_attention(q, k, v, first, sinks, scale, softcap)
        ctx.save_for_backward(q, k, v, out, lse, first, sinks)
        ctx.mark_non_differentiable(lse)
        ctx.terms = scale, softcap
        return out, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *saved, sinks = ctx.saved_tensors
        made = torch.ops.llmkit.learnt_attention_backward(grads[0], *saved, *ctx.terms)
        d_sinks = _sinks_gradient(grads[0], saved[3], saved[4], sinks) if ctx.needs_input_grad[4] else None
        d_q, d_k, d_v = (one.transpose(1, 2) for one in made)
        return d_q, d_k, d_v, None, d_sinks, None, None


def _sinks_gradient(g: Tensor, out: Tensor, lse: Tensor, sinks: Tensor) -> Tensor:
    """(H,) A sink has no value: its weights only take from what queries bring home, (B, T, H, X)."""
    taken = (g.float() * out.float()).sum(-1).transpose(1, 2)  # (B, H, T)
    return -((sinks[:, None] - lse).exp() * taken).sum((0, 2))


define(
    "learnt_attention(Tensor q, Tensor k, Tensor v, Tensor? first, Tensor? sinks, float scale, float softcap)"
    " -> (Tensor, Tensor)",
    _forward,
    _room,
    _LearntAttention,
)
define(
    "learnt_attention_backward(Tensor g, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, Tensor? first,"
    " float scale, float softcap) -> (Tensor, Tensor, Tensor)",
    _backward,
    _gradients,
)


def _call(scale: float, softcap: float, **tensors: Tensor | None) -> None:
    """The kernel on tensors, which outlive the call."""
    q, k, v = (tensors[name] for name in "qkv")
    assert q is not None and k is not None and v is not None
    B, H, T, E = q.shape
    struct = LearntAttentionStruct(
        **{"type": TYPES[q.dtype], "rows": B, "heads": H, "kv_heads": k.shape[1], "length": T},
        **{"key_dim": E, "value_dim": v.shape[-1], "scale": scale, "softcap": softcap},
    )
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        setattr(struct, "d_out" if name == "g" else name, tensor.data_ptr())
        if name in ("q", "k", "v", "g"):
            for field, stride in strides(name, tensor).items():
                setattr(struct, field, stride)
    learnt_attention(struct)
