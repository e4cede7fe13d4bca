"""Attention within rows in training on a CPU, by the native kernels, which take a third of PyTorch's time.

Shapes: B rows, T positions, H query heads, K key/value heads, E head_dim.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from llmkit.kernels.learn import HEAD_DIM_STEP, LearntAttentionStruct, learnt_attention
from llmkit.model.learnt_operations import TYPES, define, strides, takes, with_neighbours


def learns_here(q: Tensor, v: Tensor) -> bool:
    """Whether the kernels take these queries, and values as wide as they."""
    return q.shape[-1] == v.shape[-1] and q.shape[-1] % HEAD_DIM_STEP == 0 and takes(q, _dtype(q))


def attend_learning(q: Tensor, k: Tensor, v: Tensor, first: Tensor | None, *, scale: float) -> Tensor:
    """Causal attention whose gradient is worked out without the scores having been kept.

    Args:
        q: (B, H, T, E), float32 or bfloat16; under autocast what it is there.
        k: (B, K, T, E); H is a multiple of K.
        v: (B, K, T, E).
        first: (B, T) or (T,) int32, the first position that each sees, no later one's being earlier; None:
            all see the whole row before them.
        scale: what scores are multiplied with.

    Returns:
        (B, H, T, E); in memory positions come before heads.
    """
    q, k, v = (with_neighbours(one.to(_dtype(q))) for one in (q, k, v))
    if first is not None:
        first = first.expand(q.shape[0], -1).contiguous()
    out: Tensor = torch.ops.llmkit.learnt_attention(q, k, v, first, scale)[0]
    return out.transpose(1, 2)


def _dtype(q: Tensor) -> torch.dtype:
    """What attention is computed in."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else q.dtype


def _forward(q: Tensor, k: Tensor, v: Tensor, first: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """What queries take home, (B, T, H, E), and the logarithm of the sum of their exponentials, (B, H, T)."""
    out, lse = _room(q, k, v, first, scale)
    _call(scale, first, q=q, k=k, v=v, out=out, lse=lse)
    return out, lse


def _room(q: Tensor, k: Tensor, v: Tensor, first: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    B, H, T, E = q.shape
    return q.new_empty(B, T, H, E), q.new_empty(B, H, T, dtype=torch.float32)


def _backward(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, first: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of queries, keys and values, (B, T, heads, E), from that of what was taken home."""
    d_q, d_k, d_v = _gradients(g, q, k, v, out, lse, first, scale)
    g = with_neighbours(g.transpose(1, 2))
    _call(scale, first, q=q, k=k, v=v, g=g, out=out, lse=lse, d_q=d_q, d_k=d_k, d_v=d_v)
    return d_q, d_k, d_v


def _gradients(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, first: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Room for them."""
    B, H, T, E = q.shape
    K = k.shape[1]
    return q.new_empty(B, T, H, E), k.new_empty(B, T, K, E), v.new_empty(B, T, K, E)


class _LearntAttention(torch.autograd.Function):
    """The two operations as one with a gradient."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, first: Tensor | None, scale: float
    ) -> tuple[Tensor, Tensor]:
        with torch._C._AutoDispatchBelowAutograd():
            out, lse = torch.ops.llmkit.learnt_attention(q, k, v, first, scale)
        ctx.save_for_backward(q, k, v, out, lse, first)
        ctx.mark_non_differentiable(lse)
        ctx.scale = scale
        return out, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        made = torch.ops.llmkit.learnt_attention_backward(grads[0], *ctx.saved_tensors, ctx.scale)
        d_q, d_k, d_v = (one.transpose(1, 2) for one in made)
        return d_q, d_k, d_v, None, None


define(
    "learnt_attention(Tensor q, Tensor k, Tensor v, Tensor? first, float scale) -> (Tensor, Tensor)",
    _forward,
    _room,
    _LearntAttention,
)
define(
    "learnt_attention_backward(Tensor g, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, Tensor? first,"
    " float scale) -> (Tensor, Tensor, Tensor)",
    _backward,
    _gradients,
)


def _call(scale: float, first: Tensor | None, **tensors: Tensor) -> None:
    """The kernel on tensors, which outlive the call."""
    q, k = tensors["q"], tensors["k"]
    B, H, T, E = q.shape
    struct = LearntAttentionStruct(
        type=TYPES[q.dtype], rows=B, heads=H, kv_heads=k.shape[1], length=T, head_dim=E, scale=scale
    )
    for name, tensor in tensors.items():
        setattr(struct, "d_out" if name == "g" else name, tensor.data_ptr())
        if name in ("q", "k", "v", "g"):
            for field, stride in strides(name, tensor).items():
                setattr(struct, field, stride)
    if first is not None:
        struct.first = first.data_ptr()
    learnt_attention(struct)
