"""Flags that divide a run over processes."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from llmkit.commands.console import Console
from llmkit.commands.values import MOST_AT_ONCE
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.workflows.run.ranks import Division


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """Processes that share each batch, each with all weights."""

    nproc: Annotated[
        int | None,
        Option(min=1, max=MOST_AT_ONCE, metavar="N", help="Start N processes here; or use torchrun."),
    ] = None
    max_restarts: Annotated[
        int, Option(min=0, metavar="N", help="Go on by itself when a process is lost, so often.")
    ] = 0

    def division(self) -> "Division":
        """What each process has, as the workflows take it."""
        from llmkit.workflows.run.ranks import Division

        return Division()


@dataclass(frozen=True, kw_only=True)
class Processes(Replicas):
    """Processes that share each batch, or the model."""

    dp: Annotated[
        int | None, Option(min=1, metavar="N", help="Replicas, each with all weights; default: the rest.")
    ] = None
    fsdp: Annotated[
        int | None, Option(min=1, metavar="N", help="Shards of weights, gradients and moments.")
    ] = None
    tp: Annotated[int, Option(min=1, metavar="N", help="Parts of every matrix: heads, columns.")] = 1
    pp: Annotated[int, Option(min=1, metavar="N", help="Stages of layers.")] = 1
    ep: Annotated[int, Option(min=1, metavar="N", help="Parts of the experts of each mixture.")] = 1
    cp: Annotated[int, Option(min=1, metavar="N", help="Parts of every row: for long ones.")] = 1

    def division(self) -> "Division":
        """What each process has, as the workflows take it."""
        from llmkit.workflows.run.ranks import Division

        return Division(dp=self.dp, fsdp=self.fsdp, tp=self.tp, pp=self.pp, ep=self.ep, cp=self.cp)


def start_processes(processes: Replicas) -> None:
    """Start the processes that are asked for, where this is not one of them, and leave with their status.

    Each of them gets this command line, and ends when this process is gone.

    Args:
        processes: the flags.

    Raises:
        UsageError: torchrun started another number than --nproc says, or --max-restarts without --nproc.
        typer.Exit: they have ended.
    """
    from llmkit.workflows.run.launch import follow_launcher, launch
    from llmkit.workflows.run.ranks import world_size

    follow_launcher()
    nproc = count_processes(processes)
    if nproc > 1 and world_size() == 1:
        processes.division().degrees(nproc)  # refused here, before anything is started
        raise typer.Exit(launch(sys.argv[1:], nproc, max_restarts=processes.max_restarts))


def count_processes(processes: Replicas) -> int:
    """Processes of the run: those that are there, or that are to be started.

    Raises:
        UsageError: as `start_processes`.
    """
    from llmkit.workflows.run.ranks import world_size

    nproc, world = processes.nproc, world_size()
    if nproc is None and processes.max_restarts and world == 1:
        raise UsageError("--max-restarts without --nproc", hint="add --nproc N; torchrun has its own")
    if nproc is not None and nproc != world and world > 1:
        raise UsageError(f"--nproc {nproc}, but torchrun started {world}", hint="leave --nproc out")
    return world if nproc is None else nproc


def refuse_processes(processes: Processes) -> None:
    """Where a run is only tried.

    Raises:
        UsageError: it is divided.
    """
    given = [
        name.replace("_", "-") for name, value in vars(processes).items() if value != getattr(Processes, name)
    ]
    if given:
        raise UsageError(
            f"--{given[0]}: --find-lr and --overfit-batch try one process",
            hint=f"leave --{given[0]} out",
        )


def speaking(console: Console) -> Console:
    """The console of the first process; that of the others is quiet."""
    from llmkit.workflows.run.ranks import is_first_process

    return console if is_first_process() else Console(quiet=True)
