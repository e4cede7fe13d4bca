"""Expert parallelism: every process has some experts of each mixture, and rows travel to theirs (2006.16668).

Each process learns from its own rows of a batch, as replicas do; all but the experts is whole on every one.
Shapes: R rows that a process has to compute, R' rows that reach it, D hidden_size, N experts, P processes.
"""

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributed import all_to_all_single

from llmkit.model.moe import Compute, Experts, take, undo
from llmkit.train.parallel.collectives import there_and_back
from llmkit.train.parallel.tensors import cut

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh


def spread_experts(model: nn.Module, mesh: "DeviceMesh") -> None:
    """Keep this process's experts of every mixture. Every process has the same model before.

    Args:
        model: changed in place; names stay.
        mesh: of one dimension, whose size divides the number of experts.
    """
    for module in model.modules():
        if isinstance(module, Experts):
            for name, stack in list(module.named_parameters(recurse=False)):
                module.register_parameter(name, cut(stack, mesh))
            module.exchange = RowExchange(mesh.get_group())


class RowExchange:
    """See `Exchange`. Every process of the group has to call it.

    Args:
        group: the processes, in the order of their experts.
    """

    def __init__(self, group: "ProcessGroup") -> None:
        self._group = group

    def __call__(self, compute: Compute, rows: Tensor, counts: Tensor) -> Tensor:
        """See `Exchange`."""
        sent = counts.view(self._group.size(), -1)  # (P, N / P)
        reached = torch.empty_like(sent)
        all_to_all_single(reached, sent.contiguous(), group=self._group)
        going, coming = sent.sum(1).tolist(), reached.sum(1).tolist()
        arrived = _moved(rows, going, coming, self._group)  # (R', D), by process and then by expert
        experts = torch.arange(sent.shape[1], device=rows.device).repeat(len(coming))
        owner, order = experts.repeat_interleave(reached.flatten()).sort(stable=True)
        back = undo(order)
        y = compute(take(arrived, order, back, 1), owner, reached.sum(0))
        return _moved(take(y, back, order, 1), coming, going, self._group)


def _moved(rows: Tensor, going: list[int], coming: list[int], group: "ProcessGroup") -> Tensor:
    """Rows as they were sent, in the order of who sent them; their gradients travel the other way.

    Args:
        rows: (R, D), those for the first process first.
        going: how many each is sent.
        coming: and how many it sends.
        group: the processes.
    """
    there = partial(_exchanged, going=going, coming=coming)
    return there_and_back(rows, there, partial(_exchanged, going=coming, coming=going), group)


def _exchanged(rows: Tensor, group: "ProcessGroup", *, going: list[int], coming: list[int]) -> Tensor:
    arrived = rows.new_empty(sum(coming), rows.shape[1])
    all_to_all_single(arrived, rows.contiguous(), coming, going, group=group)
    return arrived
