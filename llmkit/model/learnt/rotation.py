"""Rotary positions in training on a CPU by the native kernels: one pass over queries or keys each way.

Shapes: B rows, T positions, H heads, E head_dim, R rotary_dim.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from llmkit.kernels.learn import LearntRotationStruct, learnt_rotation
from llmkit.model.learnt.operations import TYPES, define, strides, with_neighbours


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """What `rotate` gives of pairs in two halves, worked out in float32.

    Args:
        x: (B, H, T, E), float32 or bfloat16.
        cos: (T, R / 2) or (B, 1, T, R / 2).
        sin: the same.

    Returns:
        (B, H, T, E) of x's dtype; in memory positions come before heads.
    """
    out: Tensor = torch.ops.llmkit.rotated(x, cos.float().contiguous(), sin.float().contiguous(), 1.0)
    return out.transpose(1, 2)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    """(B, T, H, E); sign -1 turns back."""
    x = with_neighbours(x)
    B, H, T, E = x.shape
    half = cos.shape[-1]
    if cos.shape != sin.shape or cos.shape[-2] != T or (cos.dim() > 2 and len(cos) != B) or 2 * half > E:
        raise ValueError(f"rotations {tuple(cos.shape)}, {tuple(sin.shape)} of {tuple(x.shape)}")
    out = _room(x, cos, sin, sign)
    learnt_rotation(
        LearntRotationStruct(
            **{"x": x.data_ptr(), "out": out.data_ptr(), "cosine": cos.data_ptr(), "sine": sin.data_ptr()},
            **strides("x", x),
            **{"table_row": T * half if cos.dim() > 2 else 0, "rows": B, "heads": H, "length": T},
            **{"head_dim": E, "rotary_dim": 2 * half, "type": TYPES[x.dtype], "sign": sign},
        )
    )
    return out


def _room(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    B, H, T, E = x.shape
    return x.new_empty(B, T, H, E)


class _Rotated(torch.autograd.Function):
    """A rotation, whose gradient is the rotation back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.sign = sign
        with torch._C._AutoDispatchBelowAutograd():
            out: Tensor = torch.ops.llmkit.rotated(x, cos, sin, sign)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        back = torch.ops.llmkit.rotated(grads[0].transpose(1, 2), *ctx.saved_tensors, -ctx.sign)
        return back.transpose(1, 2), None, None, None


define("rotated(Tensor x, Tensor cos, Tensor sin, float sign) -> Tensor", _rotate, _room, _Rotated)
