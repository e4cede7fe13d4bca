"""Tensors that lie in parts on several processes: the part that is here, the whole, and back.

A tensor of one process alone is its own part and its own whole, so that who calls these need not ask.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from llmkit.model.here import here, is_spread

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def local(tensor: Tensor) -> Tensor:
    """The part that this process has, sharing its memory. Not differentiable."""
    with torch.no_grad():
        return here(tensor)


def whole(tensor: Tensor) -> Tensor:
    """All of it, in memory of its own where it lay in parts. Every process has to call this."""
    if not is_spread(tensor):
        return tensor
    from torch.distributed.tensor import Replicate

    with torch.no_grad():
        placements = list(tensor.placements)
        for at in range(len(placements)):  # one dimension after the other: rows that were cut twice fit so
            placements[at] = Replicate()
            tensor = tensor.redistribute(placements=placements)
        return tensor.to_local()


def cut(full: Tensor, mesh: "DeviceMesh", dimension: int = 0) -> nn.Parameter:
    """The part that this process has of a parameter, as one that lies in parts; every process has the same.

    Args:
        full: all of it.
        mesh: the processes, of one dimension.
        dimension: of the tensor, that is cut.
    """
    from torch.distributed.tensor import Shard, distribute_tensor

    spread = distribute_tensor(full.detach(), mesh, [Shard(dimension)], src_data_rank=None)
    return nn.Parameter(spread, requires_grad=full.requires_grad)


def like(part: Tensor, model: Tensor) -> Tensor:
    """A part as a tensor that lies in the same parts as `model`."""
    if not is_spread(model):
        return part
    from torch.distributed.tensor import DTensor

    with torch.no_grad():
        return DTensor.from_local(
            part,
            model.device_mesh,
            model.placements,
            run_check=False,
            shape=model.shape,
            stride=model.stride(),
        )


def part_of(full: Tensor, model: Tensor) -> Tensor:
    """The part of a whole tensor that this process has of `model`; every process has the same `full`.

    In memory of its own where `model` lies in parts.
    """
    if not is_spread(model):
        return full
    from torch.distributed.tensor import distribute_tensor

    with torch.no_grad():
        spread = distribute_tensor(full, model.device_mesh, model.placements, src_data_rank=None)
        return spread.to_local().clone()


def total_norm(gradients: Iterable[Tensor], group: Any = None) -> Tensor:
    """The norm of all gradients as one vector, each number of a tensor in parts counted once; no shape.

    It stays on the device: who asks for the number waits for the gradients.

    Args:
        gradients: each in the parts of its parameter.
        group: processes that hold other parameters, whose norms join.
    """
    sums: dict[tuple[Any, ...], list[Tensor]] = {}
    for gradient in gradients:
        sums.setdefault(_reduced_over(gradient), []).append(local(gradient))
    totals = [_summed_squares(parts, groups) for groups, parts in sums.items()]
    if not totals:
        return torch.zeros(())
    total = torch.stack(totals).sum()
    if group is not None:
        torch.distributed.all_reduce(total, group=group)
    return total.sqrt()


def _summed_squares(parts: list[Tensor], groups: tuple[Any, ...]) -> Tensor:
    square = torch.nn.utils.get_total_norm(parts, foreach=True).double().square()
    for group in groups:
        torch.distributed.all_reduce(square, group=group)
    return square


def _reduced_over(tensor: Tensor) -> tuple[Any, ...]:
    """The groups over which a tensor lies in different parts."""
    mesh = getattr(tensor, "device_mesh", None)
    if mesh is None:
        return ()
    placements = tensor.placements  # type: ignore[attr-defined]
    return tuple(mesh.get_group(at) for at, how in enumerate(placements) if not how.is_replicate())
