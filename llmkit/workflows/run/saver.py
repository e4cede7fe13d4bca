"""Writes the checkpoints of a run, keeps its folder up to date, and removes what is to go."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from llmkit.errors import LlmkitError
from llmkit.estimate.architecture_of import architecture_of
from llmkit.formats.checkpoint import (
    checkpoint_path,
    list_checkpoints,
    prune,
    publish,
    retract,
    step_of,
    write_checkpoint,
)
from llmkit.formats.metrics import MetricsWriter
from llmkit.train.best import Best
from llmkit.train.guard import BadUpdateError
from llmkit.train.metrics import RunLog
from llmkit.train.parallel.ranks import ALONE
from llmkit.train.snapshot_copy import copy_snapshot
from llmkit.train.state import Snapshot, checkpoint_bytes, take_snapshot, write_snapshot
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain.job import Job
from llmkit.workflows.run.claim import Claim
from llmkit.workflows.run.disk_full import full_disk_told
from llmkit.workflows.run.folder import REPLACED, carry, restore_aside

_QUICK_BYTES = 64 << 20  # a checkpoint of this size is written well within half a second


@dataclass(frozen=True)
class _Written:
    """A checkpoint that is on the disk."""

    folder: Path
    seconds: float


class Saver:
    """Writes checkpoints, brings the run folder up to date and removes old ones.

    Args:
        job: whose folder it is.
        trainer: what to save.
        log: told of each checkpoint.
        writers: metrics files, which have to be on the disk before the checkpoint that resumes from them.
        threads: recorded, so that a resumed run sums in the same order.
        last_step: the newest checkpoint's.
        best: the run folder has the model of its step, which is kept; None: that of the newest checkpoint.
        claim: of the folder, in the process that writes into it; None: nobody else can come there.
    """

    def __init__(
        self,
        job: Job,
        trainer: Trainer,
        log: RunLog,
        writers: Sequence[MetricsWriter],
        *,
        threads: int,
        last_step: int,
        best: Best | None = None,
        claim: Claim | None = None,
    ) -> None:
        self.last_step = last_step
        self.best = best
        self._claim = claim
        self._product = job.product
        self._out = job.files.out
        self._keep, self._keep_every = job.config.keep, job.config.keep_every or 0
        self._every = [every for every in (job.setup.checkpoint_every, self._keep_every) if every]
        self._goes_back = job.config.on_spike == "rewind"
        self._is_async = job.config.async_checkpoint
        self._in_flight: Future[_Written] | None = None
        self._stall_seconds = 0.0
        self._trainer = trainer
        self.log = log
        self._writers = writers
        self._threads = threads
        trained = sum(one.numel() for one in trainer.model.parameters() if one.requires_grad)
        parameters, adapter = architecture_of(job.source.config).parameters, job.product.adapter is not None
        self._is_quick = checkpoint_bytes(parameters, trained, adapter=adapter) < _QUICK_BYTES

    def is_quick(self) -> bool:
        """Whether a checkpoint takes less than half a second."""
        return self._is_quick

    def __call__(self) -> None:
        """Save the present step, unless it is saved already.

        With --async-checkpoint the run stands still only while a copy is made, and where the checkpoint
        before is not written yet.
        """
        trainer = self._trainer
        self._save(spared_to=trainer.step - trainer.left_out if trainer.left_out else 0)

    def rescue(self, error: LlmkitError) -> None:
        """Save the step before an update that ends the run, so that the run can go on there.

        Where that is no number, the weights may be why: no older checkpoint makes way. Where so many updates
        were left out in a row, nothing was learnt in them: what was saved since counts no more, if there is
        something older. A run that was to be replaced is left, as whenever the new one came to no checkpoint.
        What no process but this one met with is saved where there is no other: they would not come to save.
        """
        if not isinstance(error, BadUpdateError):
            if self._trainer.ranks is ALONE and not (self._out / REPLACED).is_dir():
                self._save(spared_to=0)
            return
        self._rescue_from(error)

    def _rescue_from(self, bad: BadUpdateError) -> None:
        step, ranks = self._trainer.step, self._trainer.ranks
        if ranks.told((self._out / REPLACED).is_dir() if ranks.is_first else None):
            return
        if not bad.left_out:
            self._save(spared_to=step if bad.verdict == "nonfinite" else 0)
            return
        self.wait()
        older = [one for one in map(step_of, list_checkpoints(self._out)[0]) if one <= step - bad.left_out]
        if older:
            self._retract_after(older[-1])

    def _save(self, *, spared_to: int) -> None:
        """Save the present step; no checkpoint up to the step `spared_to` is removed for it."""
        step = self._trainer.step
        if step == self.last_step:
            return
        begin = time.monotonic()
        self.wait()
        self.check_folder()
        snapshot = take_snapshot(self._trainer, threads=self._threads)
        self.last_step = step
        if self._trainer.ranks.is_first:
            for writer in self._writers:
                writer.sync()
            if self._is_async:
                pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
                work = (step, copy_snapshot(snapshot), self._published_steps(), spared_to)
                self._in_flight = pool.submit(self._write, *work)
                self._stall_seconds = time.monotonic() - begin
                pool.shutdown(wait=False)
            else:
                self._tell(self._write(step, snapshot, self._published_steps(), spared_to))
        if not self._is_async:
            self._trainer.ranks.wait()

    def wait(self) -> None:
        """Until what is being written is on the disk; raises what went wrong there."""
        if self._in_flight is not None:
            written, self._in_flight = self._in_flight, None
            self._tell(written.result())

    def notice(self) -> None:
        """`wait` where the checkpoint is written already; nothing while it is still being written."""
        if self._in_flight is not None and self._in_flight.done():
            self.wait()

    def _tell(self, written: "_Written") -> None:
        path, seconds = inside(written.folder, self._out), round(written.seconds, 3)
        stall = {"stall_seconds": round(self._stall_seconds, 3)} if self._is_async else {}
        self.log.event("checkpoint", step_of(written.folder), path=path, write_seconds=seconds, **stall)

    def _write(self, step: int, snapshot: Snapshot, published: list[int], spared_to: int) -> "_Written":
        """Write a checkpoint, with what follows from its being there; may be in a thread of its own."""
        begin = time.monotonic()
        with self._told(checkpoint_path(self._out, step)):
            folder = write_checkpoint(self._out, step, partial(self._fill, snapshot))
            self.check_folder()
            shown = self._first_of(published)
            if shown is not None:
                publish(shown, self._out, self._product.files)
            restore_aside(self._out)
            spared = [one for one in (shown, self.anchor if self._goes_back else None) if one is not None]
            older = [one for one in list_checkpoints(self._out)[0] if step_of(one) <= spared_to]
            keep = 1 if older else self._keep
            prune(self._out, keep, [*spared, *older], every=self._keep_every)
        return _Written(folder, time.monotonic() - begin)

    @contextmanager
    def _told(self, what: Path) -> Iterator[None]:
        """Tell errors of writing into the folder as what they are: a full disk, or a folder that is gone."""
        self.check_folder()
        try:
            with full_disk_told(self._out, what):
                yield
        except OSError:
            self.check_folder()
            raise

    def check_folder(self) -> None:
        """Refuse to write into a folder that is not this run's any more.

        Raises:
            FolderLostError: it was removed or replaced.
        """
        if self._claim is not None:
            self._claim.check()

    @property
    def published(self) -> Path | None:
        """The checkpoint whose model the run folder has; None before the first."""
        return self._first_of(self._published_steps())

    def _published_steps(self) -> list[int]:
        """Steps whose model the run folder is to have, the first that is there."""
        steps = [self.last_step] if self.best is None else [self.best.step, self.last_step]
        return [step for step in steps if step]

    def _first_of(self, steps: Sequence[int]) -> Path | None:
        folders = [checkpoint_path(self._out, step) for step in steps]
        return next((folder for folder in folders if folder.is_dir()), None)

    @property
    def anchor(self) -> Path | None:
        """The last checkpoint that was due by its step, not one that a stop left; None before the first."""
        due = [
            folder
            for folder in list_checkpoints(self._out)[0]
            if any(step_of(folder) % every == 0 for every in self._every)
            and step_of(folder) <= self._trainer.step
        ]
        return due[-1] if due else None

    def go_back(self, step: int) -> list[dict[str, Any]]:
        """What came after a step was undone: its checkpoints count no more; gives its metrics, taken back."""
        self._retract_after(step)
        undone = [writer.take_back(step) for writer in self._writers]
        return next(filter(None, undone), [])

    def _retract_after(self, step: int) -> None:
        """Have the checkpoints after a step count no more."""
        self.check_folder()
        if self._trainer.ranks.is_first:
            for folder in list_checkpoints(self._out)[0]:
                if step_of(folder) > step:
                    retract(folder)
        self.last_step = step
        self.publish()

    def publish(self) -> None:
        """Bring the run folder up to date."""
        self.check_folder()
        if self.published is not None and self._trainer.ranks.is_first:
            publish(self.published, self._out, self._product.files)

    def _fill(self, snapshot: Snapshot, folder: Path) -> None:
        write_snapshot(snapshot, folder, self._product)
        carry(self._out, folder)


def inside(path: Path, folder: Path) -> str:
    """A path as seen from a folder that holds it."""
    return path.relative_to(folder).as_posix()
