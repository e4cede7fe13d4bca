"""Normalisation of the residual stream: RMSNorm or LayerNorm, over the last dimension."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from llmkit.model.config import ModelConfig


class RMSNorm(nn.Module):
    """x / rms(x) * weight (1910.07467): no mean is subtracted and there is no bias."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., width). Returns the same shape and dtype."""
        if _is_plain_cpu(x):
            if self.weight.requires_grad and torch.is_grad_enabled():
                return _RMSNormOnCPU.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
            return (x * _scale(x, self.eps)).mul_(self.weight)
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


def build_norm(config: ModelConfig) -> nn.Module:
    """The norm of a block and of the output, as the config says."""
    if config.norm == "layer":
        return nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
    return RMSNorm(config.hidden_size, config.norm_eps)


class _RMSNormOnCPU(torch.autograd.Function):
    """RMSNorm with its gradient written out: twice as fast in training as F.rms_norm and half its memory.

    PyTorch has no kernel of its own for it on a CPU: it goes through a chain of small operations, which takes
    five times as long without gradients too, and differentiates each of them.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = _scale(x, eps)
        unit = x * scale
        ctx.save_for_backward(unit, weight, scale)
        return unit * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        unit, weight, scale = ctx.saved_tensors
        width = weight.shape[0]
        product = (grad * unit).reshape(-1, width)
        mean = torch.mv(product, weight).view_as(scale) / width  # of grad * weight * unit, over the width
        grad_x = torch.addcmul(grad * weight, unit, mean, value=-1.0).mul_(scale)
        return grad_x, product.sum(0), None


def _scale(x: Tensor, eps: float) -> Tensor:
    """(..., 1) one over the root of the mean square."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


def _is_plain_cpu(x: Tensor) -> bool:
    """float32 on a CPU and not being compiled: a compiler fuses F.rms_norm by itself."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling()
