"""Train a model from scratch or on, resumably: open the data, resolve the recipe, leave a model folder."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import torch

from llmkit.errors import GateFailed, StoppedResumable
from llmkit.estimate.architecture_of import architecture_of
from llmkit.formats.checkpoint import list_checkpoints
from llmkit.formats.metrics import MetricsWriter
from llmkit.formats.provenance import Invocation
from llmkit.progress import Progress
from llmkit.train.config import PretrainConfig, Resume
from llmkit.train.hardware import Peak, measure_peak, used_memory_bytes
from llmkit.train.loop import is_due, train
from llmkit.train.metrics import Cost, RunLog
from llmkit.train.state import load_weights, restore_trainer
from llmkit.train.stop import Reason, StopRequest
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain_duties import Saver, build_duties, inside
from llmkit.workflows.pretrain_job import Job, PretrainFiles, open_job
from llmkit.workflows.pretrain_model import build_model
from llmkit.workflows.pretrain_plan import PretrainPlan, check_resources, plan_run
from llmkit.workflows.pretrain_run import (
    CACHE,
    Start,
    check_folder,
    check_metrics_file,
    find_start,
    locked,
    metrics_paths,
    prepare_folder,
    restore_aside,
)

Records = list[dict[str, Any]]


class PretrainReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run."""

    schema: str = "llmkit.pretrain/1"
    out: str
    parameters: int
    steps: int
    tokens: int
    loss: float | None
    """Of the last update."""
    valid_loss: float | None
    bits_per_byte: float | None
    seconds: float
    tokens_per_second: float | None
    mfu: float | None
    memory_bytes: int
    skipped_steps: int
    resumed_step: int
    """Where this call went on from; 0: it began. Equal to `steps`: there was nothing left to do."""
    checkpoint: str
    """The newest one, inside `out`."""


def plan_pretrain(
    files: PretrainFiles,
    config: PretrainConfig,
    *,
    resume: Resume,
    invocation: Invocation,
    progress: Progress,
) -> PretrainPlan:
    """What `pretrain` would do and take. Documents are packed into a folder that is removed again."""
    check_folder(files.out, [*files.data, *files.valid])
    with TemporaryDirectory(prefix="llmkit-") as scratch:
        job = open_job(files, config, Path(scratch), invocation, progress)
        start = find_start(files.out, job.setup.recipe, resume=resume, force=True, progress=progress)
        plan = plan_run(job.setup, config, job.source.config, job.data, files.out)
    return msgspec.structs.replace(plan, resume_step=start.step)


def pretrain(
    files: PretrainFiles,
    config: PretrainConfig,
    *,
    resume: Resume = "auto",
    force: bool = False,
    fail_above: float | None = None,
    invocation: Invocation,
    progress: Progress,
) -> PretrainReport:
    """Train, and leave a model folder in files.out.

    Args:
        files: what to read and where to write.
        config: how to train.
        resume: `auto` goes on from the newest checkpoint of a run with the same settings; `never` starts
            over; `must` starts nothing new.
        force: with `never`, replace the run that is there.
        fail_above: the loss (of validation, where there is one) above which the result is not good enough.
        invocation: recorded in llmkit.json.
        progress: shows the run.

    Raises:
        UsageError, DataError, MissingError, ResourceError: something does not fit; nothing was trained.
        StoppedResumable: SIGTERM or the time limit; a checkpoint is saved.
        KeyboardInterrupt: Ctrl-C; its text says where the run can be resumed.
        GateFailed: the loss is above `fail_above`.
        LlmkitError: the loss is not finite, or is a spike, and the run was to stop then.
    """
    stop = StopRequest(config.max_seconds)
    check_folder(files.out, [*files.data, *files.valid])
    with locked(files.out):
        restore_aside(files.out)
        job = open_job(files, config, files.out / CACHE, invocation, progress)
        start = find_start(files.out, job.setup.recipe, resume=resume, force=force, progress=progress)
        check_metrics_file(files.out, files.metrics, resumes=start.step > 0, force=force)
        check_resources(job.setup, config, job.source.config, files.out)
        report = _run(job, start, stop, invocation, progress)
    judged = report.valid_loss if report.valid_loss is not None else report.loss
    if fail_above is not None and judged is not None and judged > fail_above:
        raise GateFailed(
            f"{files.out}: the loss is above {fail_above:g} (found {judged:.4f})",
            hint="train longer (--steps), on more text, or a larger --preset",
        )
    return report


def _run(
    job: Job, start: Start, stop: StopRequest, invocation: Invocation, progress: Progress
) -> PretrainReport:
    """Train from a start to the end, or to a request to stop."""
    setup, out = job.setup, job.files.out
    threads = job.config.threads or (start.state.threads if start.state else setup.threads)
    with _torch_settings(threads, setup.recipe.seed), ExitStack() as stack:
        trainer = _build_trainer(job, start)
        stack.callback(trainer.close)
        past = prepare_folder(job, start, invocation)
        stack.callback(restore_aside, out)
        paths = metrics_paths(out, job.files.metrics)
        writers = [stack.enter_context(MetricsWriter(path)) for path in paths]
        peak = measure_peak(setup.device, setup.recipe.dtype)
        log = RunLog(
            [writer.write for writer in writers],
            progress,
            Cost(setup.flops_per_token, peak.flops_per_second),
            steps=setup.recipe.steps,
            seconds_before=_last_time(past),
            memory_bytes=lambda: used_memory_bytes(setup.device),
        )
        _announce(job, start, past, log, peak, threads, progress)
        saver = Saver(job, trainer, log, writers, threads=threads, last_step=start.step)
        duties = build_duties(job, trainer, saver)
        owed = start.step > 0 and is_due(start.step, duties, setup.recipe.steps)
        owed = owed and not _has(past, "eval", start.step)
        if start.step == setup.recipe.steps and not owed:
            progress.note(f"{out}: complete at step {start.step:,}, nothing to do")
        with stop:
            reason: Reason | None
            try:
                reason = train(trainer, duties, log, stop, owed=owed)
            except KeyboardInterrupt:
                reason = "sigint"
            except BaseException as error:
                log.event("stop", trainer.step, reason=type(error).__name__)
                raise
            log.event("stop", trainer.step, reason=reason or "done")
        _raise_stop(reason, out, trainer, saver.last_step)
        return _report(job, trainer, log, past, start)


def _build_trainer(job: Job, start: Start) -> Trainer:
    setup, config = job.setup, job.config
    if start.checkpoint is not None:
        model = load_weights(start.checkpoint, setup.device)
    else:
        model = build_model(job.source, setup.recipe.seed, setup.device)
    trainer = Trainer(
        model,
        job.data.rows,
        setup.recipe,
        micro_batch_rows=setup.micro_batch_rows,
        on_nonfinite=config.on_nonfinite,
        on_spike=config.on_spike,
        compile_model=config.compile,
    )
    if start.checkpoint is not None and start.state is not None:
        restore_trainer(trainer, start.checkpoint, start.state)
    return trainer


def _announce(
    job: Job, start: Start, past: Records, log: RunLog, peak: Peak, threads: int, progress: Progress
) -> None:
    """The `start` event, and for people where the run goes on from."""
    recipe = job.setup.recipe
    if start.checkpoint is not None:
        progress.note(f"going on from {start.checkpoint}")
        if not _has(past, "checkpoint", start.step):  # killed between the checkpoint and its record
            log.event("checkpoint", start.step, path=inside(start.checkpoint, job.files.out))
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
        threads=threads,
        flops_per_token=job.setup.flops_per_token,
        peak_flops_per_second=peak.flops_per_second,
        peak_source=peak.source,
    )


def _raise_stop(reason: Reason | None, out: Path, trainer: Trainer, last_step: int) -> None:
    """Turn a stop into the exit that the command line promises."""
    step, steps = trainer.step, trainer.recipe.steps
    if reason == "sigint":
        kept = f"step {last_step} is saved, the same line goes on" if last_step else "nothing is saved yet"
        raise KeyboardInterrupt(f"at step {step} of {steps}: {kept}")
    if reason is not None:
        what = "the time is over" if reason == "max_time" else "SIGTERM"
        raise StoppedResumable(
            f"{out}: stopped at step {step} of {steps} ({what}); a checkpoint is saved",
            hint="run the same line again to go on",
        )


def _has(records: Records, event: str, step: int) -> bool:
    return any(record.get("event") == event and record.get("step") == step for record in records)


def _last_time(records: Records) -> float:
    return float(next((one["time_seconds"] for one in reversed(records) if "time_seconds" in one), 0.0))


@contextmanager
def _torch_settings(threads: int, seed: int) -> Iterator[None]:
    """Threads and the global generator, for the length of a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _report(job: Job, trainer: Trainer, log: RunLog, past: Records, start: Start) -> PretrainReport:
    """The figures of the whole run; those from before a resume come from its metrics."""
    losses = [one["loss"] for one in past if one.get("loss") is not None]
    evaluations = [one for one in past if one.get("event") == "eval"]
    new, old = log.last_evaluation, evaluations[-1] if evaluations else {}
    newest = list_checkpoints(job.files.out)[0][-1]
    return PretrainReport(
        out=str(job.files.out),
        parameters=architecture_of(job.source.config).parameters,
        steps=trainer.step,
        tokens=trainer.tokens,
        loss=log.last.loss if log.last else next(reversed(losses), None),
        valid_loss=new.loss if new else old.get("valid_loss"),
        bits_per_byte=new.bits_per_byte if new else old.get("bits_per_byte"),
        seconds=round(log.seconds, 3),
        tokens_per_second=log.tokens_per_second,
        mfu=log.mfu,
        memory_bytes=used_memory_bytes(job.setup.device),
        skipped_steps=trainer.skipped,
        resumed_step=start.step,
        checkpoint=inside(newest, job.files.out),
    )
