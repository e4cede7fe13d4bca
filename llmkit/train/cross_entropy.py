"""Cross-entropy of rows of logits: on a CPU by a native kernel, which keeps nothing as wide as they are.

PyTorch's own copies logits to float32, keeps their log probabilities, and writes a gradient of zeros first.

Shapes: N rows, V vocab_size.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import increment_version
from torch.nn import functional as F

from llmkit.kernels.learn import CrossEntropyStruct, cross_entropy
from llmkit.model.learnt.operations import TYPES, define, takes

IGNORED = -100
"""The target that carries no loss: PyTorch's default ignore_index."""


def nats(logits: Tensor, targets: Tensor, *, used_up: bool = False) -> Tensor:
    """Minus the log probability of each row's target, 0 where that is IGNORED.

    Args:
        logits: (N, V) of any float dtype.
        targets: (N,) int64.
        used_up: nobody reads the logits afterwards: on the way back their gradient, which is as large, takes
            their place. Autograd refuses who asks for them nevertheless.

    Returns:
        (N,) float32, worked out in float32.
    """
    if takes(logits, logits.dtype):
        rows = logits.contiguous()
        found: Tensor = torch.ops.llmkit.cross_entropy(rows, targets.contiguous(), used_up)[0]
        return found
    return F.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="none")


def _forward(logits: Tensor, targets: Tensor, used_up: bool = False) -> tuple[Tensor, Tensor]:
    """(N,) nats, and (N, 2) what the way back needs: the largest logit, and the logarithm of the sum."""
    if targets.dtype != torch.int64 or targets.shape != logits.shape[:1]:
        raise ValueError(f"targets {targets.dtype} {tuple(targets.shape)} of logits {tuple(logits.shape)}")
    if bool(((targets != IGNORED) & ((targets < 0) | (targets >= logits.shape[1]))).any()):
        raise IndexError(f"a target that is none of {logits.shape[1]} ids")
    found, terms = _room(logits, targets)
    _call(logits, targets, terms, nats=found)
    return found, terms


def _room(logits: Tensor, targets: Tensor, used_up: bool = False) -> tuple[Tensor, Tensor]:
    N = len(logits)
    return logits.new_empty(N, dtype=torch.float32), logits.new_empty(N, 2, dtype=torch.float32)


def _backward(grad: Tensor, logits: Tensor, targets: Tensor, terms: Tensor) -> Tensor:
    slopes = torch.empty_like(logits)
    _call(logits, targets, terms, factor=grad.contiguous(), slopes=slopes)
    return slopes


def _backward_in_place(grad: Tensor, logits: Tensor, targets: Tensor, terms: Tensor) -> Tensor:
    """The same where the logits are."""
    increment_version(logits)
    slopes = logits.detach()
    _call(slopes, targets, terms, factor=grad.contiguous(), slopes=slopes)
    return slopes


def _call(logits: Tensor, targets: Tensor, terms: Tensor, **more: Tensor) -> None:
    tensors = {"logits": logits, "targets": targets, "terms": terms, **more}
    addresses = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    rows, cols = logits.shape
    cross_entropy(CrossEntropyStruct(rows=rows, cols=cols, type=TYPES[logits.dtype], **addresses))


class _CrossEntropy(torch.autograd.Function):
    """The two operations as one with a gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, used_up: bool = False) -> tuple[Tensor, Tensor]:
        with torch._C._AutoDispatchBelowAutograd():
            found, terms = torch.ops.llmkit.cross_entropy(logits, targets)
        ctx.save_for_backward(logits, targets, terms)
        ctx.used_up = used_up
        ctx.mark_non_differentiable(terms)
        return found, terms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        saved = ctx.saved_tensors
        if (
            ctx.used_up and type(saved[0]) is Tensor
        ):  # the compiler's have no memory, and it plans that itself
            return _backward_in_place(grads[0], *saved), None, None
        return torch.ops.llmkit.cross_entropy_backward(grads[0], *saved), None, None


define(
    "cross_entropy(Tensor logits, Tensor targets, bool used_up=False) -> (Tensor, Tensor)",
    _forward,
    _room,
    _CrossEntropy,
)
define(
    "cross_entropy_backward(Tensor grad, Tensor logits, Tensor targets, Tensor terms) -> Tensor",
    _backward,
    lambda grad, logits, targets, terms: torch.empty_like(logits),
)
