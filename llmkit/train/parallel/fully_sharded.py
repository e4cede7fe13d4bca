"""Fully sharded data parallelism (FSDP2): each process keeps a part of every weight, gradient and moment.

Weights of a layer are gathered while it runs, and gradients are summed into their parts after it. With
replicas of the shards beside each other, that is HSDP.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def shard_weights(root: nn.Module, layers: Iterable[nn.Module], mesh: "DeviceMesh", *, dtype: str) -> None:
    """Keep this process's part of every weight. Every process has the same weights before.

    Args:
        root: what is called in a pass; changed in place, names stay.
        layers: of the model in it, each gathered by itself; the rest is gathered for the whole pass.
        mesh: of one dimension, or of replicas and shards.
        dtype: of the arithmetic, in which weights travel; sums of gradients and the parts kept are float32.
    """
    narrow = torch.bfloat16 if dtype == "bfloat16" else None
    policy = MixedPrecisionPolicy(param_dtype=narrow, reduce_dtype=torch.float32)
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(root, mesh=mesh, mp_policy=policy)
    for module in root.modules():
        if isinstance(module, FSDPModule):  # the loss is over the targets of all: a sum, not a mean of means
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no other
