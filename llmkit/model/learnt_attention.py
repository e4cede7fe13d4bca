"""Attention within rows in training on a CPU, by the native kernels, which take a third of PyTorch's time.

Shapes: B rows, T positions, H query heads, K key/value heads, E head_dim.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from llmkit.kernels.learn import HEAD_DIM_STEP, LearntAttentionStruct, learnt_attention
from llmkit.kernels.library import available
from llmkit.kernels.memory import ValueType

HAS_KERNELS = available()
"""Asked for once: torch.compile reads a constant, and would look into how a library is loaded."""
TYPES = {torch.float32: ValueType.FLOAT32, torch.bfloat16: ValueType.BFLOAT16}
"""What the kernels of training read and write."""


def takes(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether the kernels of training are for a tensor of a pass, in what it is computed in.

    Not in inference mode, as when texts are written: there PyTorch's own are the slow twin of the engine's.
    Without gradients as with them: what a reference scores has the bits of what is learnt from.
    """
    is_plain = x.device.type == "cpu" and dtype in TYPES and not hasattr(x, "placements")
    writes = (
        not torch.compiler.is_compiling() and torch.is_inference_mode_enabled()
    )  # it cannot be asked there
    return is_plain and HAS_KERNELS and not writes


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
    q, k, v = (_neighbours(one.to(_dtype(q))) for one in (q, k, v))
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
    g = _neighbours(g.transpose(1, 2))
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


_OPERATIONS = torch.library.Library("llmkit", "FRAGMENT")
"""Operations of PyTorch's: its compiler and `recompute` know them. `custom_op` would import the compiler."""
_OPERATIONS.define(
    "learnt_attention(Tensor q, Tensor k, Tensor v, Tensor? first, float scale) -> (Tensor, Tensor)"
)
_OPERATIONS.impl("learnt_attention", _forward, "CPU")
_OPERATIONS.impl("learnt_attention", _room, "Meta")
_OPERATIONS.impl("learnt_attention", _LearntAttention.apply, "AutogradCPU")
_OPERATIONS.define(
    "learnt_attention_backward(Tensor g, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, Tensor? first,"
    " float scale) -> (Tensor, Tensor, Tensor)"
)
_OPERATIONS.impl("learnt_attention_backward", _backward, "CPU")
_OPERATIONS.impl("learnt_attention_backward", _gradients, "Meta")


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
            for step, stride in zip(("row", "head", "token"), tensor.stride(), strict=False):
                setattr(struct, f"{name}_{step}", stride)
    if first is not None:
        struct.first = first.data_ptr()
    learnt_attention(struct)


def _neighbours(x: Tensor) -> Tensor:
    """With the numbers of a head side by side."""
    return x if x.stride(-1) == 1 else x.contiguous()
