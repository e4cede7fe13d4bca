"""The processes of a run: as torchrun's environment tells, each in its place."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.errors import ConfigError, LlmkitError, StoppedResumable
from llmkit.workflows.run.again import AGAIN

if TYPE_CHECKING:
    from llmkit.train.parallel.degrees import Degrees
    from llmkit.train.parallel.ranks import Ranks

STATUS = "LLMKIT_STATUS_FILE"
RESTARTS = "LLMKIT_RESTARTS"
"""How often our own launcher has started the processes anew."""

FIRST_SPEAKS_SECONDS = 10.0
"""How long the others keep silent about an error that the first process most likely has too, and tells."""

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others."""

STOPPED_SECONDS = 1.0
"""How long they stay after all were asked to stop: one that leaves before the first could pass for lost."""


class LostProcess(StoppedResumable):
    """Another process of the run has ended."""


@dataclass(frozen=True, kw_only=True)
class Division:
    """The degrees of a run as asked for; None: what is left of the processes."""

    dp: int | None = None
    fsdp: int | None = None
    tp: int = 1
    pp: int = 1
    ep: int = 1
    cp: int = 1

    def degrees(self, processes: int | None = None) -> "Degrees":
        """For so many processes; None: those that there are.

        Raises:
            ConfigError: they do not multiply to these.
        """
        from llmkit.train.parallel.degrees import resolve_degrees

        return resolve_degrees(processes or world_size(), **vars(self))


ONE = Division()


def world_size() -> int:
    """Processes of this run: what torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_here() -> int:
    """Those of them on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))


def is_first_process() -> bool:
    """Whether this is the one that speaks and writes."""
    return os.environ.get("RANK", "0") == "0"


def was_restarted() -> bool:
    """Whether the processes were started anew after one was lost: then a run is always gone on with."""
    return _restarts() > 0


def own_device(name: str) -> str:
    """The device of this process: of several that train on GPUs, each has the one of its number."""
    import torch

    if world_size() == 1 or not (name == "cuda" or (name == "auto" and torch.cuda.is_available())):
        return name
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if number >= torch.cuda.device_count():
        raise ConfigError(
            f"process {number} of this machine has no GPU (found {torch.cuda.device_count()})",
            hint=f"--nproc {torch.cuda.device_count()}, or --device cpu",
        )
    return f"cuda:{number}"


@contextmanager
def joined_ranks(degrees: "Degrees", device_name: str) -> Iterator["Ranks"]:
    """This process among the others, until the end.

    Args:
        degrees: of the run.
        device_name: of this process: `cuda:N`, or anything for the CPU.

    Raises:
        StoppedResumable: another process was lost.
    """
    from llmkit.train.parallel.ranks import ALONE, MeshRanks

    if degrees.world == 1:
        yield ALONE
        return
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    kind = "cuda" if device_name.startswith("cuda") else "cpu"
    device = torch.device(device_name if kind == "cuda" else "cpu")
    if kind == "cuda":
        torch.cuda.set_device(device)
    # torchrun keeps one store for all attempts: without a prefix, addresses of lost processes are read
    store, rank, processes = next(rendezvous("env://", timeout=PATIENCE))
    dist.init_process_group(
        "nccl" if kind == "cuda" else "gloo",
        store=PrefixStore(f"attempt {_restarts()}", store),
        rank=rank,
        world_size=processes,
        timeout=PATIENCE,
    )
    try:
        yield MeshRanks(degrees, device)
    except (dist.DistError, RuntimeError) as error:
        if not _is_lost(error):
            raise
        raise LostProcess("another process of the run was lost", hint=AGAIN) from error
    finally:
        dist.destroy_process_group()


@contextmanager
def first_speaks() -> Iterator[None]:
    """An error that all processes have is told once: by the first of them, whose end ends the others.

    Whoever started the processes reads the first one's exit status in the file that STATUS names, and tells
    itself which process was lost.
    """
    try:
        yield
    except (LlmkitError, KeyboardInterrupt) as error:
        status = getattr(error, "status", 130)
        if isinstance(error, LostProcess) and STATUS in os.environ:
            time.sleep(FIRST_SPEAKS_SECONDS)
        elif is_first_process():
            if STATUS in os.environ:
                Path(os.environ[STATUS]).write_text(str(status))
        elif isinstance(error, KeyboardInterrupt | StoppedResumable):
            time.sleep(STOPPED_SECONDS)
            raise SystemExit(status) from None
        else:
            time.sleep(FIRST_SPEAKS_SECONDS)
        raise


def _restarts() -> int:
    """How often the processes were started anew, by torchrun or by our launcher."""
    return sum(int(os.environ.get(name, "0")) for name in ("TORCHELASTIC_RESTART_COUNT", RESTARTS))


def _is_lost(error: BaseException) -> bool:
    """Whether an error of a collective operation says that its other side is gone."""
    text = str(error)
    return any(sign in text for sign in ("Connection", "connection", "closed by peer", "NCCL", "Timed out"))
