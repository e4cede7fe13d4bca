"""The processes of a run: which one this is, and what they tell each other between the passes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llmkit.train.parallel.degrees import ONE_PROCESS, Degrees

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh


_PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class Share:
    """Which of `count` equal parts a process has: of the rows of every batch, or of the positions of each."""

    index: int = 0
    count: int = 1


WHOLE_BATCH = Share()
WHOLE_ROWS = Share()


class Ranks:
    """One process alone, which has nobody to ask: every sum is its own."""

    rank = 0
    degrees = ONE_PROCESS
    share = WHOLE_BATCH
    """Its rows of every batch."""
    cut = WHOLE_ROWS
    """Its positions of each of these: see row_cut.py."""
    stream = WHOLE_ROWS
    """Its positions of these between matrices that are cut: see `part_of_stream`."""
    stage = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def sum(self, values: Sequence[float], *, of_stream: bool = False) -> list[float]:
        """Each value summed over the processes that share a batch; float64.

        Args:
            values: of this process.
            of_stream: they are of the positions of `stream` alone.
        """
        return list(values)

    def each(self, values: Sequence[float]) -> Tensor:
        """(processes, values) float64: what each process has that shares a batch, or positions of it."""
        return torch.tensor([values], dtype=torch.float64)

    def over_rows(self, values: Tensor) -> Tensor:
        """Of positions of `stream`, summed over the processes that have the rest of these rows, in place."""
        return values

    def of_stages(self, value: Any) -> list[Any]:
        """What each stage has, in their order."""
        return [value]

    def highest(self, value: int) -> int:
        """The largest that any process has: how they agree to stop at the same step."""
        return value

    def wait(self) -> None:
        """Go on when every process has come here."""

    def told(self, value: Any) -> Any:
        """What the first process has: what it read, all know."""
        return value

    @contextmanager
    def first(self) -> Iterator[None]:
        """What the first process does before the others do the same: they find what it made."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()
        self.wait()


ALONE = Ranks()


class MeshRanks(Ranks):
    """One process of several, which are connected.

    Args:
        degrees: how they divide the work; every process makes these ranks.
        device: of the process.
    """

    def __init__(self, degrees: Degrees, device: torch.device) -> None:
        import torch.distributed as dist
        from torch.distributed.device_mesh import init_device_mesh

        sizes = vars(degrees)
        self.mesh = mesh = init_device_mesh(device.type, tuple(sizes.values()), mesh_dim_names=tuple(sizes))
        self.degrees = degrees
        self.device = device
        self.rank = dist.get_rank()
        self.stage = mesh.get_local_rank("pp")
        shard = mesh.get_local_rank("dp") * degrees.fsdp + mesh.get_local_rank("fsdp")
        self.share = Share(shard * degrees.ep + mesh.get_local_rank("ep"), degrees.shares)
        self.cut = Share(mesh.get_local_rank("cp"), degrees.cp)
        self.stream = Share(mesh.get_local_rank("tp"), degrees.tp)
        # what the first does alone, such as packing, may take hours; one that is lost is noticed at once
        self._patient = dist.new_group(backend="gloo", timeout=_PATIENCE)
        # all processes have to make a group at once: none is made in a pass, which stages come to apart
        self._apart = self.group("dp", "fsdp", "ep", "cp")
        self._of_stream = self.group("dp", "fsdp", "ep", "cp", "tp")
        self._of_rows = self.group("cp", "tp")

    def group(self, *dimensions: str) -> "ProcessGroup":
        """The processes that differ from this one in these dimensions only."""
        if len(dimensions) == 1:
            return self.mesh.get_group(dimensions[0])
        return self.mesh[dimensions]._flatten("_".join(dimensions)).get_group()

    def shard_mesh(self, *, of_experts: bool = False) -> "DeviceMesh":
        """Of the processes that have shards of the same weights, and of the replicas of these.

        Experts that --ep spreads are the same on fewer of them.
        """
        mesh, replicas = self.mesh, self.degrees.dp > 1
        beside = ("cp",) if of_experts else ("ep", "cp")
        among = ("fsdp", *(name for name in beside if vars(self.degrees)[name] > 1))
        if len(among) == 1:
            return mesh["dp", "fsdp"] if replicas else mesh["fsdp"]
        shards = mesh[among]._flatten("_".join(among))
        if not replicas:
            return shards
        join = getattr(type(mesh), "_concatenate", None)  # newer torch, which warns of the slice
        return mesh["dp", "_".join(among)] if join is None else join([mesh["dp"], shards])

    def sum(self, values: Sequence[float], *, of_stream: bool = False) -> list[float]:
        """See `Ranks.sum`. Else processes that hold parts of one matrix have the same: one is counted."""
        import torch.distributed as dist

        told = torch.tensor(values, dtype=torch.float64, device=self.device)
        group = self._of_stream if of_stream else self._apart
        if group.size() > 1:
            dist.all_reduce(told, group=group)
        return told.tolist()

    def each(self, values: Sequence[float]) -> Tensor:
        """See `Ranks.each`."""
        own = torch.tensor(values, dtype=torch.float64, device=self.device)
        every = [torch.empty_like(own) for _ in range(self._of_stream.size())]
        torch.distributed.all_gather(every, own, group=self._of_stream)
        return torch.stack(every).cpu()

    def over_rows(self, values: Tensor) -> Tensor:
        """See `Ranks.over_rows`."""
        if self.degrees.cp * self.degrees.tp > 1:
            torch.distributed.all_reduce(values, group=self._of_rows)
        return values

    def of_stages(self, value: Any) -> list[Any]:
        """See `Ranks.of_stages`."""
        values = [value] * self.degrees.pp
        if len(values) > 1:
            torch.distributed.all_gather_object(values, value, group=self.group("pp"))
        return values

    def highest(self, value: int) -> int:
        """See `Ranks.highest`."""
        import torch.distributed as dist

        told = torch.tensor(value, device=self.device)
        dist.all_reduce(told, op=dist.ReduceOp.MAX)
        return int(told)

    def wait(self) -> None:
        """See `Ranks.wait`. As long as it takes, unlike all else that processes tell each other."""
        import torch.distributed as dist

        dist.all_reduce(torch.zeros(1), group=self._patient)

    def told(self, value: Any) -> Any:
        """See `Ranks.told`."""
        import torch.distributed as dist

        values = [value]
        dist.broadcast_object_list(values, src=0, device=self.device)
        return values[0]
