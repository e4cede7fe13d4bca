"""`--overfit-batch` and `--find-lr`: a hundred updates of a run that leave nothing but their report."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import torch

from llmkit.errors import GateFailed, LlmkitError
from llmkit.formats.amount_text import plural
from llmkit.formats.provenance import Invocation
from llmkit.progress import Progress
from llmkit.train.config import PretrainConfig, Recipe
from llmkit.train.freed_memory import freed_memory_kept
from llmkit.train.hardware import threads_set
from llmkit.train.parallel.divided import divide_model
from llmkit.train.trainer import StepResult, Trainer
from llmkit.train.trial import (
    UPDATES,
    RatePoint,
    SameBatch,
    flat_rate,
    lowest_point,
    range_test,
    rising_rate,
    run_updates,
    steepest_point,
)
from llmkit.workflows.pretrain.job import Job, PretrainFiles, open_job
from llmkit.workflows.pretrain.model import build_model
from llmkit.workflows.pretrain.process_memory import memory_bytes
from llmkit.workflows.run.plan import check_memory


class OverfitPoint(msgspec.Struct, frozen=True, kw_only=True):
    """An update on the batch."""

    step: int
    lr: float
    loss: float
    grad_norm: float


class OverfitReport(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a model can learn one batch by heart: what cannot has a fault, or too low a rate."""

    schema: str = "llmkit.pretrain-overfit/1"
    rows: int
    """Of the batch."""
    tokens: int
    """Targets in it."""
    lr: float
    """After a tenth of the updates."""
    first_loss: float
    loss: float
    """At the last update."""
    seconds: float
    curve: list[OverfitPoint]


class FindLrReport(msgspec.Struct, frozen=True, kw_only=True):
    """A range test: the loss while the learning rate rises."""

    schema: str = "llmkit.pretrain-find-lr/1"
    optimizer: str
    suggested_lr: float | None
    """A third of `lowest_lr`: a run is longer than this test. None where the loss never fell."""
    steepest_lr: float | None
    """Where the smoothed loss falls fastest."""
    lowest_lr: float
    """Where the smoothed loss is least; beyond it the run comes apart."""
    run_lr: float
    """What the run would take with these flags."""
    diverged: bool
    """The test ended before its last update: the loss was above the first one, or not finite."""
    seconds: float
    curve: list[RatePoint]


def try_out(
    files: PretrainFiles,
    config: PretrainConfig,
    *,
    rates: bool,
    fail_above: float | None,
    invocation: Invocation,
    progress: Progress,
) -> OverfitReport | FindLrReport:
    """`find_lr`, or `overfit_batch`."""
    if rates:
        return find_lr(files, config, invocation=invocation, progress=progress)
    return overfit_batch(files, config, fail_above=fail_above, invocation=invocation, progress=progress)


def overfit_batch(
    files: PretrainFiles,
    config: PretrainConfig,
    *,
    fail_above: float | None = None,
    invocation: Invocation,
    progress: Progress,
) -> OverfitReport:
    """Learn the first batch over and over, at the run's peak rate.

    Raises:
        UsageError, DataError, MissingError, ResourceError: as `pretrain`.
        LlmkitError: the loss is not finite at once.
        GateFailed: the last loss is above `fail_above`.
    """
    begin = time.monotonic()
    with _trainer(files, config, invocation, progress, flat_rate, same=True) as (_, trainer):
        results = list(_shown(run_updates(trainer), progress))
    if not results:
        raise _nothing()
    report = OverfitReport(
        rows=trainer.recipe.batch_rows,
        tokens=results[0].tokens,
        lr=trainer.recipe.lr,
        first_loss=results[0].loss,
        loss=results[-1].loss,
        seconds=round(time.monotonic() - begin, 3),
        curve=[
            OverfitPoint(step=one.step, lr=one.lr, loss=one.loss, grad_norm=one.grad_norm) for one in results
        ],
    )
    if fail_above is not None and not report.loss <= fail_above:  # nan is neither
        raise GateFailed(
            f"the loss of one batch is above {fail_above:g} after {plural(len(results), 'update')} "
            f"(found {report.loss:.4f})",
            hint="another --lr (see --find-lr), or a model of more parameters",
        )
    return report


def find_lr(
    files: PretrainFiles, config: PretrainConfig, *, invocation: Invocation, progress: Progress
) -> FindLrReport:
    """Train while the rate rises from 1e-6 to 1, and look where the loss falls and where it leaps.

    Raises:
        UsageError, DataError, MissingError, ResourceError: as `pretrain`.
        LlmkitError: the loss is not finite at once.
    """
    begin = time.monotonic()
    with _trainer(files, config, invocation, progress, rising_rate, same=False) as (job, trainer):
        points = list(range_test(_shown(run_updates(trainer), progress)))
    if not points:
        raise _nothing()
    lowest, steepest = lowest_point(points), steepest_point(points)
    return FindLrReport(
        optimizer=job.setup.recipe.optimizer,
        suggested_lr=None if steepest is None else float(f"{lowest.lr / 3:.2g}"),
        steepest_lr=None if steepest is None else steepest.lr,
        lowest_lr=lowest.lr,
        run_lr=job.setup.recipe.lr,
        diverged=len(points) < UPDATES,
        seconds=round(time.monotonic() - begin, 3),
        curve=points,
    )


@contextmanager
def _trainer(
    files: PretrainFiles,
    config: PretrainConfig,
    invocation: Invocation,
    progress: Progress,
    rate: Callable[[Recipe, int], float],
    *,
    same: bool,
) -> Iterator[tuple[Job, Trainer]]:
    """The run at its first update. Documents are packed into a folder that is removed again."""
    with TemporaryDirectory(prefix="llmkit-") as scratch:
        job = open_job(files, config, Path(scratch), invocation, progress)
        setup = job.setup
        needed = memory_bytes(setup, config, job.source.config)
        check_memory(setup, needed, "shorter rows, or a smaller --preset")
        with threads_set(setup.threads), freed_memory_kept(small_only=config.recomputes):
            torch.manual_seed(setup.recipe.seed)
            model = build_model(job.source, setup.recipe.seed, setup.device)
            trainer = Trainer(
                divide_model(model, config, setup.recipe),
                job.data.rows,
                replace(setup.recipe, batch_ramp=None),  # what is tried is a full batch
                micro_batch_rows=setup.micro_batch_rows,
                on_nonfinite="skip",
                source=SameBatch(job.data.rows, setup.recipe, setup.device) if same else None,
                rate=rate,
            )
            try:
                yield job, trainer
            finally:
                trainer.close()


def _shown(results: Iterator[StepResult], progress: Progress) -> Iterator[StepResult]:
    for result in results:
        progress.update(result.step, UPDATES, loss=f"{result.loss:.4f}", lr=f"{result.lr:.2e}")
        yield result


def _nothing() -> LlmkitError:
    return LlmkitError(
        "the loss of the first batch is not finite", hint="look at the weights that --model gives"
    )
