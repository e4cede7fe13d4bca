"""What processes tell each other in a pass, with gradients: all-gather, reduce-scatter and all-reduce.

DTensor does the same, and takes a millisecond of Python for each product between them. Every process of a
group has to call these, backwards too.
Shapes: P processes of a group.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

_GATHER = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_REDUCE = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
"""Newer names of the same."""
Operation = Callable[[Tensor, "ProcessGroup"], Tensor]


def all_gather(own: Tensor, group: "ProcessGroup") -> Tensor:
    """What all have: (...) to (P, ...). Gradients of what each made of it are summed, where it came from."""
    return there_and_back(own, gathered, scattered, group)


def reduce_scatter(summands: Tensor, group: "ProcessGroup") -> Tensor:
    """Of (P, ...), the sum of what all have for this process: (...)."""
    return there_and_back(summands, scattered, gathered, group)


def all_reduce(summand: Tensor, group: "ProcessGroup") -> Tensor:
    """The sum of what all have; its gradients, of what each made of it, are summed too."""
    return there_and_back(summand, reduced, reduced, group)


def there_and_back(given: Tensor, there: Operation, back: Operation, group: "ProcessGroup") -> Tensor:
    """What one operation gives, whose gradient goes back by the other. Neither is differentiable itself."""
    found: Tensor = _ThereAndBack.apply(given, there, back, group)  # type: ignore[no-untyped-call]
    return found


class _ThereAndBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, given: Tensor, there: Operation, back: Operation, group: "ProcessGroup") -> Tensor:
        ctx.back, ctx.group = back, group
        return there(given, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.back(gradients[0], ctx.group), None, None, None


def gathered(own: Tensor, group: "ProcessGroup") -> Tensor:
    """See `all_gather`. Not differentiable."""
    size = group.size()
    flat = own.new_empty(size * own.shape[0], *own.shape[1:])
    _GATHER(flat, own.contiguous(), group=group)
    return flat.view(size, *own.shape)


def scattered(summands: Tensor, group: "ProcessGroup", *, out: Tensor | None = None) -> Tensor:
    """See `reduce_scatter`. Not differentiable.

    On a CPU each process is sent its summands and adds them up: gloo has no reduce-scatter but an all-reduce,
    of twice the bytes, whose rest is thrown away.

    Args:
        summands: (P, ...).
        group: P processes.
        out: where the sum goes, (...), side by side in memory; None: to memory of its own.
    """
    summands = summands.contiguous()
    total = summands.new_empty(summands.shape[1:]) if out is None else out
    if summands.device.type == "cpu":
        return _by_exchange(summands, total, group)
    return _by_reduce_scatter(summands, total, group)


def _by_exchange(summands: Tensor, total: Tensor, group: "ProcessGroup") -> Tensor:
    arrived = torch.empty_like(summands)
    dist.all_to_all_single(arrived.flatten(0, 1), summands.flatten(0, 1), group=group)
    return torch.sum(arrived, 0, out=total)


def _by_reduce_scatter(summands: Tensor, total: Tensor, group: "ProcessGroup") -> Tensor:
    _REDUCE(total, summands.flatten(0, 1), group=group)
    return total


def reduced(own: Tensor, group: "ProcessGroup", op: Any = dist.ReduceOp.SUM) -> Tensor:
    """The sum of what all have, or another `op` of it. Not differentiable."""
    total = own.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, op, group=group)
    return total
