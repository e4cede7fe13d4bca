"""Replicas: every process has all weights; gradients are summed while the backward pass runs."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from llmkit.train.parallel.tensors import local

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

BUCKET_BYTES = 25 << 20
"""Of gradients that travel together: as many as DistributedDataParallel takes."""


@dataclass
class _Bucket:
    """Gradients that travel together."""

    parameters: list[nn.Parameter] = field(default_factory=list)
    missing: int = 0
    flat: Tensor | None = None
    work: Any = None


class GradientSum:
    """Sums gradients over processes, bucket by bucket, each as soon as it is complete.

    DistributedDataParallel does the same, but forms its buckets anew after the first backward pass. From then
    on more than two processes may add up in another order, so that a resumed run would differ from one that
    was not stopped, in the last bit. Here the buckets follow from the parameters alone.

    Args:
        parameters: those that are trained, in the order of the forward pass.
        group: the replicas.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], group: "ProcessGroup") -> None:
        self._group = group
        self._buckets: list[_Bucket] = []
        self._bucket_of: dict[nn.Parameter, _Bucket] = {}
        self._is_last = False
        size = 0
        for parameter in reversed(list(parameters)):
            if not self._buckets or size + parameter.nbytes > BUCKET_BYTES:
                self._buckets.append(_Bucket())
                size = 0
            size += parameter.nbytes
            self._buckets[-1].parameters.append(parameter)
            self._bucket_of[parameter] = self._buckets[-1]
            parameter.register_post_accumulate_grad_hook(self._arrived)

    def expect_last(self) -> None:
        """The next backward pass is the last of an update: its gradients are complete."""
        self._is_last = True
        for bucket in self._buckets:
            bucket.missing = len(bucket.parameters)

    @torch.no_grad()
    def finish(self) -> None:
        """Wait for the sums, and put them in the place of the gradients."""
        for bucket in self._buckets:
            if bucket.work is None:  # a parameter of it had no gradient here
                self._send(bucket)
        for bucket in self._buckets:
            bucket.work.wait()
            assert bucket.flat is not None
            sizes = [local(one).numel() for one in bucket.parameters]
            for parameter, total in zip(bucket.parameters, bucket.flat.split(sizes), strict=True):
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradient = local(parameter.grad)
                gradient.copy_(total.view_as(gradient))
            bucket.flat = bucket.work = None
        self._is_last = False

    def _arrived(self, parameter: nn.Parameter) -> None:
        if self._is_last:
            bucket = self._bucket_of[parameter]
            bucket.missing -= 1
            if bucket.missing == 0:
                self._send(bucket)

    @torch.no_grad()
    def _send(self, bucket: _Bucket) -> None:
        gradients = [
            torch.zeros_like(local(one)) if one.grad is None else local(one.grad) for one in bucket.parameters
        ]
        bucket.flat = torch.cat([one.reshape(-1) for one in gradients])
        bucket.work = torch.distributed.all_reduce(bucket.flat, group=self._group, async_op=True)
