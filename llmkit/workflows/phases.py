"""A job in phases: units of work that may be done anywhere, with a barrier behind each phase."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from llmkit.errors import StoppedResumable
from llmkit.progress import SILENT, Progress
from llmkit.workflows.executors import Inline, Processes
from llmkit.workflows.units import (
    Executor,
    Receipt,
    Unit,
    UnitFunction,
    find_receipts,
    run_units,
    select_shard,
)


@dataclass(frozen=True, kw_only=True)
class Phases:
    """What all phases of a job have in common."""

    folder: Path
    executor: Executor
    fingerprint: str
    shard: str | None = None
    progress: Progress = SILENT
    done: list[Unit] = field(default_factory=list)
    """Units of the phases that were run: all that belongs to the job, at the end."""

    def run(
        self, name: str, function: UnitFunction, tasks: Sequence[msgspec.Struct], *, digits: int = 5
    ) -> list[Receipt]:
        """Do the units of a phase that are ours, and go on only when all of it is done.

        Args:
            name: of the phase; units are called after it and their number.
            function: what is done with each.
            tasks: one a unit.
            digits: of the number; 0: the phase is one unit, which is called as the phase is.

        Raises:
            StoppedResumable: other shards are not there yet.
        """
        units = [
            Unit(f"{name}-{number:0{digits}d}" if digits else name, msgspec.to_builtins(task))
            for number, task in enumerate(tasks)
        ]
        self.done.extend(units)
        own = select_shard(units, self.shard)
        is_alone = len(own) <= 1 and isinstance(self.executor, Processes)  # no worker is started for one unit
        run_units(
            function,
            own,
            folder=self.folder,
            executor=Inline() if is_alone else self.executor,
            fingerprint=self.fingerprint,
            on_done=_counter(self.progress, name, len(units)),
        )
        receipts = find_receipts(units, self.folder, self.fingerprint)
        if len(receipts) < len(units):
            raise StoppedResumable(
                f"--shard {self.shard}: {len(units) - len(receipts)} of {len(units)} units of the phase "
                f"{name!r} are still missing, of other shards",
                hint="run the same line again when the other shards have come as far",
            )
        return [receipts[unit.name] for unit in units]


def _counter(progress: Progress, name: str, total: int) -> Callable[[Receipt], None]:
    done = 0

    def count(_: Receipt) -> None:
        nonlocal done
        done += 1
        progress.update(done, total, phase=name)

    return count
