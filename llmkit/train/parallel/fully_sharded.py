"""Fully sharded data parallelism (FSDP2): each process keeps a part of every weight, gradient and moment.

Weights of a layer are gathered while it runs, and gradients are summed into their parts after it. With
replicas of the shards beside each other, that is HSDP.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed import ReduceOp
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from llmkit.model.moe import Experts
from llmkit.model.router import Router
from llmkit.train.parallel.collectives import scattered
from llmkit.train.parallel.ranks import MeshRanks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def shard_weights(root: nn.Module, layers: Iterable[nn.Module], ranks: MeshRanks, *, dtype: str) -> None:
    """Keep this process's part of every weight. Every process has the same weights before.

    Experts that are spread (--ep) are sharded over the processes that have the same of them, all else over
    those of --ep too. Routers are gathered by themselves where all else travels in bfloat16: they are not
    rounded.

    Args:
        root: what is called in a pass; changed in place, names stay.
        layers: of the model in it, each gathered by itself; the rest is gathered for the whole pass.
        ranks: the processes.
        dtype: of the arithmetic, in which weights travel; sums of gradients and the parts kept are float32.
    """
    narrow = torch.bfloat16 if dtype == "bfloat16" else None
    policy = MixedPrecisionPolicy(param_dtype=narrow, reduce_dtype=torch.float32)
    of_experts = replace(policy, cast_forward_inputs=False)  # tokens' weights for them are float32
    of_routers = replace(of_experts, param_dtype=None)
    mesh = ranks.shard_mesh()
    for layer in layers:
        for module in layer.modules():
            if ranks.degrees.ep > 1 and isinstance(module, Experts):
                fully_shard(module, mesh=ranks.shard_mesh(of_experts=True), mp_policy=of_experts)
            elif narrow is not None and isinstance(module, Router):
                fully_shard(module, mesh=mesh, mp_policy=of_routers)
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    # counts of experts come into a stage in float64, and are told to the next as they are
    fully_shard(root, mesh=mesh, mp_policy=replace(policy, cast_forward_inputs=ranks.degrees.pp == 1))
    for module in root.modules():
        if isinstance(module, FSDPModule):  # the loss is over the targets of all: a sum, not a mean of means
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no other
            if ranks.device.type == "cpu" and hasattr(module, "set_custom_reduce_scatter"):  # newer torch
                module.set_custom_reduce_scatter(_Scattered())  # type: ignore[arg-type]  # a private protocol


class _Scattered:
    """FSDP2's ReduceScatter: see `scattered` for why a CPU has one of its own."""

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: "ProcessGroup",
        op: Any,
        async_op: bool = False,
    ) -> None:
        """The sum is there when it returns."""
        assert op == ReduceOp.SUM and not async_op, "told so above"
        scattered(input_tensor.view(group.size(), -1), group, out=output_tensor)
