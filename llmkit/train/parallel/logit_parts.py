"""Logits of which each process has those of some ids: what a loss asks of them, where they are.

Shapes: N targets, V ids here.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from llmkit.train.parallel.collectives import gathered

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class LogitParts:
    """See `llmkit.model.transformer.LogitParts`. Every process of the group has to call this.

    Args:
        group: the processes, in the order of their ids; each has as many.
    """

    def __init__(self, group: "ProcessGroup") -> None:
        self._group = group

    def __deepcopy__(self, memo: Any) -> "LogitParts":
        return self  # connections are no part of a model: a copy has them too

    def terms(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """See `llmkit.model.transformer.LogitParts`."""
        both: tuple[Tensor, Tensor] = _Terms.apply(logits, targets, self._group)  # type: ignore[no-untyped-call]
        return both


class _Terms(torch.autograd.Function):
    """log Z and the target's logit. Three numbers of each target travel, and backwards none."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, group: "ProcessGroup") -> tuple[Tensor, Tensor]:
        """logits: (N, V) float32; targets: (N,). Gives (N,) twice."""
        width = logits.shape[1]
        own = targets - group.rank() * width
        here = (own >= 0) & (own < width)
        column = own.clamp(0, width - 1).unsqueeze(1)
        least = torch.finfo(logits.dtype).min  # -inf less -inf would be no number
        most = logits.amax(-1).clamp_(min=least)
        sums = (logits - most.unsqueeze(1)).exp_().sum(-1)
        chosen = logits.gather(1, column).squeeze(1).masked_fill_(~here, 0.0)
        told = gathered(torch.stack((most, sums, chosen)), group)  # (P, 3, N)
        largest = told[:, 0].amax(0)
        log_z = largest + (told[:, 1] * (told[:, 0] - largest).exp_()).sum(0).log()
        ctx.save_for_backward(logits, log_z, column, here)
        return log_z, told[:, 2].sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *wanted: Tensor) -> tuple[Tensor, None, None]:
        """wanted: (N,) twice."""
        logits, log_z, column, here = ctx.saved_tensors
        gradient = (logits - log_z.unsqueeze(1)).exp_().mul_(wanted[0].unsqueeze(1))
        gradient.scatter_add_(1, column, (wanted[1] * here).unsqueeze(1))
        return gradient, None, None
