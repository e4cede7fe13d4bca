"""SwiGLU in training on a CPU by the native kernels: one pass over the numbers each way, and less kept."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from llmkit.kernels.learn import LearntGateStruct, learnt_gate
from llmkit.model.learnt.operations import TYPES, define


def silu_gated(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, of one shape and dtype, float32 or bfloat16; rounded once."""
    gated: Tensor = torch.ops.llmkit.silu_gated(gate.contiguous(), up.contiguous())
    return gated


def _forward(gate: Tensor, up: Tensor) -> Tensor:
    if gate.shape != up.shape or gate.dtype != up.dtype:
        raise ValueError(f"a gate {gate.dtype} {tuple(gate.shape)} for {up.dtype} {tuple(up.shape)}")
    out = torch.empty_like(gate)
    _call(gate=gate, up=up, out=out)
    return out


def _backward(grad: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    grad, d_gate, d_up = grad.contiguous(), torch.empty_like(gate), torch.empty_like(up)
    _call(gate=gate, up=up, d_out=grad, d_gate=d_gate, d_up=d_up)
    return d_gate, d_up


def _call(**tensors: Tensor) -> None:
    gate = tensors["gate"]
    addresses = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    learnt_gate(LearntGateStruct(count=gate.numel(), type=TYPES[gate.dtype], **addresses))


class _SiluGated(torch.autograd.Function):
    """The two operations as one with a gradient."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        with torch._C._AutoDispatchBelowAutograd():
            gated: Tensor = torch.ops.llmkit.silu_gated(gate, up)
        return gated

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        d_gate, d_up = torch.ops.llmkit.silu_gated_backward(grads[0], *ctx.saved_tensors)
        return d_gate, d_up


define(
    "silu_gated(Tensor gate, Tensor up) -> Tensor",
    _forward,
    lambda gate, up: torch.empty_like(gate),
    _SiluGated,
)
define(
    "silu_gated_backward(Tensor grad, Tensor gate, Tensor up) -> (Tensor, Tensor)",
    _backward,
    lambda grad, gate, up: (torch.empty_like(gate), torch.empty_like(up)),
)
