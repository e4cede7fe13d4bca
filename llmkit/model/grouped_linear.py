"""Rows times the matrix of their expert, as one operation of PyTorch's, whatever experts they have.

Only the operation itself asks how many rows each expert got: what is compiled sees one node of fixed shapes.
Shapes: R rows in the order of their experts, N experts, D numbers in, O out.
"""

from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from llmkit.model.dtypes import computed_dtype
from llmkit.model.learnt.operations import define

_DEVICES = ("CPU", "CUDA")
_STEP = 32
"""What numbers of rows are rounded up to, where every number costs memory."""


def grouped_linear(
    rows: Tensor, weight: Tensor, bias: Tensor | None, owner: Tensor, counts: Tensor
) -> Tensor:
    """Each row through the linear map of its expert: (R, D) to (R, O), in what products are computed in.

    Args:
        rows: (R, D).
        weight: (N, O, D).
        bias: (N, O).
        owner: (R,) the expert of each row.
        counts: (N,) int64, rows of each expert.
    """
    rows = rows.to(computed_dtype(rows))
    weight, bias = weight.to(rows.dtype), None if bias is None else bias.to(rows.dtype)
    if _has_kernel(rows, weight):
        return _by_kernel(rows, weight, bias, owner, counts)
    y: Tensor = torch.ops.llmkit.grouped_linear(rows, weight, bias, counts)
    return y


def _has_kernel(rows: Tensor, weight: Tensor) -> bool:
    """Whether PyTorch's own is for these: matrices whose rows are a multiple of 16 bytes, both ways."""
    is_aligned = weight.shape[1] % 8 == 0 and weight.shape[2] % 8 == 0
    return rows.is_cuda and rows.dtype == torch.bfloat16 and is_aligned and len(rows) > 0


def _by_kernel(rows: Tensor, weight: Tensor, bias: Tensor | None, owner: Tensor, counts: Tensor) -> Tensor:
    """Without telling the CPU how many rows each expert has."""
    y = F.grouped_mm(rows, weight.mT, offs=counts.cumsum(0).to(torch.int32))
    if bias is None:
        return y
    return y + F.one_hot(owner, len(bias)).to(y.dtype) @ bias  # its gradient is added up in one order


def _forward(rows: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor) -> Tensor:
    taken = F.pad(rows, (0, 0, 0, _STEP - 1)) if _keeps_shapes(rows) else rows
    out = rows.new_empty(len(taken), weight.shape[1])
    for expert, own in enumerate(_parts(counts)):
        for part in _in_pieces(own) if _keeps_shapes(rows) else [own]:
            if bias is None:
                torch.mm(taken[part], weight[expert].T, out=out[part])
            else:
                torch.addmm(bias[expert], taken[part], weight[expert].T, out=out[part])
    return out[: len(rows)]


def _outer(left: Tensor, right: Tensor, counts: Tensor) -> Tensor:
    """The gradient of a stack: (N, O, D) of (R, O) and (R, D); zero where an expert has no rows."""
    out = left.new_empty(len(counts), left.shape[1], right.shape[1])
    for expert, own in enumerate(_parts(counts)):
        count = own.stop - own.start
        added = (0, 0, 0, _rounded_up(count) - count if _keeps_shapes(left) else 0)
        torch.mm(F.pad(left[own], added).T, F.pad(right[own], added), out=out[expert])
    return out


def _keeps_shapes(rows: Tensor) -> bool:
    """Whether every number of rows costs memory of its own.

    On CPUs oneDNN computes bfloat16, and keeps half a MiB for each shape that it met. Experts have other
    numbers of rows in every pass: it would compile without end, and hold hundreds of MiB.
    """
    return rows.dtype == torch.bfloat16 and rows.device.type == "cpu"


def _in_pieces(own: slice) -> Iterator[slice]:
    """Rows in pieces of 32, 64, 128, ..., the largest first, and less than 32 rows too many: the next ones,
    whose turn comes later."""
    start, left = own.start, -(-(own.stop - own.start) // _STEP) * _STEP
    while left:
        size = 1 << (left.bit_length() - 1)
        yield slice(start, start + size)
        start, left = start + size, left - size


def _rounded_up(count: int) -> int:
    """To a multiple of 32, and of a quarter of the power of two below it: a sum over rows cannot be in pieces
    without rounding in between, and four sizes an octave are few."""
    step = max(_STEP, (1 << count.bit_length()) // 8)
    return -(-count // step) * step


def _parts(counts: Tensor) -> list[slice]:
    """Which rows each expert has."""
    ends = list(accumulate(counts.tolist(), initial=0))
    return [slice(*both) for both in pairwise(ends)]


class _GroupedLinear(torch.autograd.Function):
    """The operation with its gradients. A stack has one even where none of its experts had rows: processes
    that share it wait for each other's."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight, counts)
        with torch._C._AutoDispatchBelowAutograd():
            y: Tensor = torch.ops.llmkit.grouped_linear(rows, weight, bias, counts)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        rows, weight, counts = ctx.saved_tensors
        grad = grads[0].contiguous()
        of_rows, of_weight, of_bias, _ = ctx.needs_input_grad
        ones = grad.new_ones(len(grad), 1)
        return (
            torch.ops.llmkit.grouped_linear(grad, weight.mT, None, counts) if of_rows else None,
            torch.ops.llmkit.grouped_outer(grad, rows, counts) if of_weight else None,
            torch.ops.llmkit.grouped_outer(grad, ones, counts).squeeze(-1) if of_bias else None,
            None,
        )


define(
    "grouped_linear(Tensor rows, Tensor weight, Tensor? bias, Tensor counts) -> Tensor",
    _forward,
    lambda rows, weight, bias, counts: rows.new_empty(len(rows), weight.shape[1]),
    _GroupedLinear,
    devices=_DEVICES,
)
define(
    "grouped_outer(Tensor left, Tensor right, Tensor counts) -> Tensor",
    _outer,
    lambda left, right, counts: left.new_empty(len(counts), left.shape[1], right.shape[1]),
    devices=_DEVICES,
)
