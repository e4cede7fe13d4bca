"""`--profile`: a trace of some updates in RUN/profile, and the costliest operators for a person."""

import gzip
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from llmkit.formats.atomic import atomic_file
from llmkit.train.metrics import RunLog
from llmkit.train.step_profile import OperatorCost, StepProfiler, parse_window
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain.job import Job

PROFILE = "profile"
"""Folder of a run."""


def profile_duty(
    job: Job, trainer: Trainer, log: RunLog, check: Callable[[], None] = lambda: None
) -> Callable[[int], AbstractContextManager[None]]:
    """What stands around each update: the profiler where one was asked for, on the process that speaks.

    `check` is called before a trace is written, and may raise.
    """
    asked = job.config.profile
    if asked is None or not trainer.ranks.is_first:
        return lambda step: nullcontext()
    left = trainer.recipe.steps - trainer.step
    window = parse_window(asked).clipped(left)
    if left and not window.count:
        log.note(f"--profile {asked}: the run is over before, after {left} more steps; nothing is recorded")

    def write(export: Callable[[Path], None], costs: list[OperatorCost], first: int, last: int) -> None:
        check()
        path = job.files.out / PROFILE / f"steps-{first}-{last}.trace.json.gz"
        write_trace(export, path)
        log.profiled(first, last, path.relative_to(job.files.out).as_posix(), costs)

    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it says on stderr that it starts and stops
    on_cuda = trainer.device.type == "cuda"
    return StepProfiler(window, trainer.step + 1, on_cuda=on_cuda, write=write).watch


def write_trace(export: Callable[[Path], None], path: Path) -> None:
    """Have a trace written, and pack it: JSON takes ten times the room."""
    with TemporaryDirectory(prefix="llmkit-") as scratch:
        plain = Path(scratch) / "trace.json"
        export(plain)
        with (
            plain.open("rb") as source,
            atomic_file(path) as target,
            gzip.GzipFile(fileobj=target, mode="wb", mtime=0) as packed,
        ):
            shutil.copyfileobj(source, packed)
