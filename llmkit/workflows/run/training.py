"""A run from its start to its end, or to a request to stop: what pretrain and finetune have in common."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from llmkit.errors import DISK_FULL, GateFailed, StoppedResumable
from llmkit.estimate.architecture_of import architecture_of
from llmkit.formats.metrics import MetricsWriter
from llmkit.formats.provenance import Invocation
from llmkit.formats.tensorboard import EventsWriter
from llmkit.progress import Progress
from llmkit.train.best import Best
from llmkit.train.freed_memory import freed_memory_kept
from llmkit.train.guard import BadUpdateError
from llmkit.train.hardware import Peak, is_emulated, measure_peak, threads_set, used_memory_bytes
from llmkit.train.loop import Duties, is_due, is_sampled_first, train
from llmkit.train.metrics import Cost, RunLog
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.ranks import ALONE
from llmkit.train.stop import Reason, StopRequest
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain.job import Job
from llmkit.workflows.run.again import AGAIN, GOES_ON
from llmkit.workflows.run.claim import Claim, FolderLostError
from llmkit.workflows.run.disk_full import DiskFullError, full_disk_told
from llmkit.workflows.run.folder import Start, metrics_paths, prepare_folder, restore_aside
from llmkit.workflows.run.saver import Saver, inside

Records = list[dict[str, Any]]
Report = TypeVar("Report")


class Scored(Protocol):
    """The report of a run."""

    @property
    def loss(self) -> float | None:
        """Of the last update."""

    @property
    def valid_loss(self) -> float | None:
        """Of validation."""


@dataclass(frozen=True)
class Ended:
    """What the report of a run is made of when it has come to its end, before its folder is closed."""

    trainer: Trainer
    log: RunLog
    past: Records
    """What the metrics held at the start."""
    start: Start
    saver: Saver


def check_loss(out: Path, found: Scored, most: float | None, *, hint: str) -> None:
    """Hold a run to a loss: that of validation, where there is one.

    Raises:
        GateFailed: it is above `most`, or no number.
    """
    judged = found.valid_loss if found.valid_loss is not None else found.loss
    if most is not None and judged is not None and not judged <= most:  # nan is neither
        what = f"above {most:g} (found {judged:.4f})" if judged > most else f"no number (found {judged})"
        raise GateFailed(f"{out}: the loss is {what}", hint=hint)


def run_training(
    job: Job,
    start: Start,
    stop: StopRequest,
    invocation: Invocation,
    progress: Progress,
    *,
    claim: Claim | None = None,
    build_trainer: Callable[[Job, Start], Trainer],
    duties_of: Callable[[Job, Trainer, Saver], Duties],
    finish: Callable[[Ended], Report],
    best: Best | None = None,
) -> Report:
    """Train from a start to the end.

    Args:
        job: opened and checked.
        start: where to begin.
        stop: asks to end early.
        invocation: recorded in llmkit.json.
        progress: shows the run.
        claim: of the folder, in the process that writes into it; None: nobody else can come there.
        build_trainer: makes the trainer, as it was at the start.
        duties_of: what falls due between updates.
        finish: looks at the trained model, and makes the report.
        best: judges evaluations; those of before the start are shown to it first.

    Raises:
        StoppedResumable: SIGTERM or the time limit.
        KeyboardInterrupt: Ctrl-C; its text says where the run can be resumed.
        BadUpdateError: the loss is not finite, or is a spike, and the run was to stop then.
        DiskFullError: the disk is full.
        FolderLostError: the folder was removed or replaced.
    """
    setup, out = job.setup, job.files.out
    threads = job.config.threads or _threads_before(start, setup.degrees) or setup.threads
    settings = _torch_settings(threads, setup.recipe.seed, saves=job.config.recomputes)
    with settings, full_disk_told(out), ExitStack() as stack:
        trainer = build_trainer(job, start)
        ranks = trainer.ranks
        stack.callback(trainer.close)
        past = ranks.told(prepare_folder(job, start, invocation) if ranks.is_first else None)
        if ranks.is_first:
            stack.callback(_close, out, claim)
        if best is not None:
            for record in _events(past, "eval"):
                best.judge(record["step"], record.get("valid_loss"))
        paths = metrics_paths(out, job.files.metrics) if ranks.is_first else []
        writers = [stack.enter_context(MetricsWriter(path)) for path in paths]
        peak = measure_peak(setup.device, setup.recipe.dtype)
        if is_emulated(setup.device, setup.recipe.dtype) and ranks.is_first:
            progress.note("bfloat16: no instructions for it on this CPU, --dtype float32 is far faster")
        sinks = [writer.write for writer in writers]
        if job.files.tensorboard is not None and ranks.is_first:
            sinks.append(stack.enter_context(EventsWriter(job.files.tensorboard, start.step)).write)
        log = RunLog(
            sinks,
            progress,
            Cost(setup.flops_per_token, peak.flops_per_second * ranks.degrees.world),
            steps=setup.recipe.steps,
            seconds_before=_last_time(past),
            memory_bytes=lambda: used_memory_bytes(setup.device),
        )
        _announce(job, start, past, log, peak, ranks.degrees, threads, progress)
        saver = Saver(
            job, trainer, log, writers, threads=threads, last_step=start.step, best=best, claim=claim
        )
        saver.publish()
        duties = duties_of(job, trainer, saver)
        owed = ranks.highest(ranks.is_first and _is_owed(start.step, duties, past, setup.recipe.steps)) == 1
        if not owed and (start.step == setup.recipe.steps or (best is not None and best.is_over)):
            progress.note(f"{out}: complete at step {start.step:,}, nothing to do")
        ended = Ended(trainer, log, past, start, saver)
        with stop:
            reason, report = _train_to_end(ended, duties, stop, finish, out, owed=owed)
            log.stopped(trainer.step, reason or "done")
        if report is None:
            raise _stopped(reason, out, trainer, saver.last_step)
        return report


def _is_owed(step: int, duties: Duties, past: Records, steps: int) -> bool:
    """Whether the run was stopped between an update and what falls due after it."""
    if is_due(step, duties, steps) and not _has(past, "eval", step):
        return True
    return is_sampled_first(step, duties) and not _has(past, "sample", step)


def _train_to_end(
    run: Ended, duties: Duties, stop: StopRequest, finish: Callable[[Ended], Report], out: Path, *, owed: bool
) -> tuple[Reason | None, Report | None]:
    """Train: None and the report, or why the run was stopped before it had one."""
    trainer, ranks = run.trainer, run.trainer.ranks
    try:
        with full_disk_told(out):
            reason = train(trainer, duties, run.log, stop, owed=owed)
            if reason is not None:
                return reason, None
            run.saver.check_folder()
            with ranks.first():  # the others read what the first writes for it
                return None, finish(run)
    except KeyboardInterrupt:
        return "sigint", None
    except RuntimeError as error:
        if stop.reason == "sigint" and ranks is not ALONE:
            return "sigint", None  # another process was interrupted within a step
        _tell_end(run.log, trainer.step, error)
        raise
    except BaseException as error:
        _tell_end(run.log, trainer.step, error)
        raise


def _close(out: Path, claim: Claim | None) -> None:
    """Bring back the run that was set aside, unless the folder is another's by now."""
    if claim is None or claim.holds:
        restore_aside(out)


def _tell_end(log: RunLog, step: int, error: BaseException) -> None:
    """The `stop` event of a run that an error ends; a full disk may have no room for it."""
    reason = type(error).__name__
    if isinstance(error, BadUpdateError):
        reason = error.verdict
    elif isinstance(error, DiskFullError):
        reason = "disk_full"
    elif isinstance(error, FolderLostError):
        reason = "folder_lost"
    try:
        log.stopped(step, reason)
    except OSError as full:
        if full.errno not in DISK_FULL:
            raise


def _threads_before(start: Start, division: Degrees) -> int | None:
    """CPU threads of the run that goes on, whose bits depend on them; None where it is divided otherwise."""
    state = start.state
    return state.threads if state is not None and state.division == str(division) else None


def _announce(
    job: Job,
    start: Start,
    past: Records,
    log: RunLog,
    peak: Peak,
    division: Degrees,
    threads: int,
    progress: Progress,
) -> None:
    """The `start` event, and for people where the run goes on from."""
    recipe = job.setup.recipe
    if start.checkpoint is not None:
        progress.note(f"going on from {start.checkpoint}")
        if start.state is not None and start.state.division != str(division):
            progress.note(f"divided otherwise than before ({start.state.division}): equal up to rounding")
        if not _has(past, "checkpoint", start.step):  # killed between the checkpoint and its record
            log.event("checkpoint", start.step, path=inside(start.checkpoint, job.files.out))
    for folder, what in start.damaged:
        log.event("damaged", start.step, path=inside(folder, job.files.out), problem=what)
    if job.tokenizer is None:
        progress.note(
            f"{job.files.out} gets no tokenizer: give one with -t TOKENIZER to generate text from it"
        )
    log.event(
        "start",
        start.step,
        parameters=architecture_of(job.source.config).parameters,
        steps=recipe.steps,
        rows=recipe.rows,
        batch_tokens=recipe.batch_tokens,
        device=str(job.setup.device),
        dtype=recipe.dtype,
        division=str(division),
        threads=threads,
        flops_per_token=job.setup.flops_per_token,
        peak_flops_per_second=peak.flops_per_second,
        peak_source=peak.source,
    )


def _stopped(reason: Reason | None, out: Path, trainer: Trainer, last_step: int) -> BaseException:
    """What a stop is raised as, so that the exit is what the command line promises."""
    step, steps = trainer.step, trainer.recipe.steps
    if reason == "sigint":
        kept = f"step {last_step} is saved, {GOES_ON}" if last_step else "nothing is saved yet"
        return KeyboardInterrupt(f"at step {step} of {steps}: {kept}")
    what = "the time is over" if reason == "max_time" else str(reason).upper()
    kept = "a checkpoint is saved" if last_step else "nothing was learnt yet"
    return StoppedResumable(f"{out}: stopped at step {step} of {steps} ({what}); {kept}", hint=AGAIN)


def _events(records: Records, event: str) -> Iterator[dict[str, Any]]:
    return (record for record in records if record.get("event") == event)


def _has(records: Records, event: str, step: int) -> bool:
    return any(record.get("step") == step for record in _events(records, event))


def _last_time(records: Records) -> float:
    return float(next((one["time_seconds"] for one in reversed(records) if "time_seconds" in one), 0.0))


@contextmanager
def _torch_settings(threads: int, seed: int, *, saves: bool) -> Iterator[None]:
    """Threads, the global generator and memory, which may be to be saved, for the length of a run."""
    torch.manual_seed(seed)
    with threads_set(threads), freed_memory_kept(small_only=saves):
        yield
