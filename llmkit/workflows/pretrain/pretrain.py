"""Train a model from scratch or on, resumably: open the data, resolve the recipe, leave a model folder."""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import torch

from llmkit.estimate.architecture_of import architecture_of
from llmkit.formats.checkpoint import list_checkpoints
from llmkit.formats.metrics import told_number
from llmkit.formats.provenance import Invocation
from llmkit.progress import SILENT, Progress
from llmkit.train.config import PretrainConfig, Resume
from llmkit.train.hardware import threads_set, used_memory_bytes
from llmkit.train.parallel.degrees import ONE_PROCESS
from llmkit.train.parallel.divided import divide_model
from llmkit.train.parallel.ranks import Ranks
from llmkit.train.state import load_weights, restore_trainer
from llmkit.train.stop import StopRequest
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain.job import Job, PretrainFiles, open_job
from llmkit.workflows.pretrain.model import build_model
from llmkit.workflows.pretrain.plan import PretrainPlan, check_resources, plan_run
from llmkit.workflows.run.claim import claimed
from llmkit.workflows.run.duties import build_duties
from llmkit.workflows.run.folder import (
    CACHE,
    Start,
    check_folder,
    check_metrics_file,
    check_records,
    check_resume,
    find_start,
)
from llmkit.workflows.run.launch import threads_of
from llmkit.workflows.run.ranks import (
    ONE,
    Division,
    joined_ranks,
    own_device,
    processes_here,
    world_size,
)
from llmkit.workflows.run.restart import resume_now
from llmkit.workflows.run.saver import inside
from llmkit.workflows.run.training import Ended, check_loss, run_training


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
    force: bool = False,
    calibrate: bool = False,
    division: Division = ONE,
    processes: int | None = None,
    invocation: Invocation,
    progress: Progress,
) -> PretrainPlan:
    """What `pretrain` would do and take. Documents are packed into a folder that is removed again.

    Args:
        files: what would be read and written.
        config: how it would train.
        resume, force: as for `pretrain`.
        calibrate: time updates, however long they take.
        division: of the run.
        processes: that the run would have on this machine, where they are not started; None: those that are
            there. Then every one of them calls this, and each finds the same.
        invocation: for what is packed.
        progress: shows what is packed.
    """
    check_folder(files.out, files.begun_from)
    check_records(files.out, files.metrics, files.tensorboard, files.inputs, force=force)
    degrees = division.degrees(processes)
    started = degrees if processes is None else ONE_PROCESS
    here = processes if processes is not None and world_size() == 1 else processes_here()
    threads = torch.get_num_threads() if processes in (None, 1) else threads_of(processes)
    if processes is None:
        config = replace(config, device=own_device(config.device))
    with (
        joined_ranks(started, config.device) as ranks,
        TemporaryDirectory(prefix="llmkit-") as scratch,
        threads_set(threads),
    ):
        job = open_job(files, config, Path(scratch), invocation, progress, degrees=degrees)
        start = find_start(files.out, job.setup.recipe, resume=resume, force=True, progress=progress)
        plan = plan_run(
            job.setup,
            config,
            job.source.config,
            job.data,
            files.out,
            valid=job.valid,
            calibrate=calibrate,
            ranks=ranks,
            processes_here=here,
        )
    return msgspec.structs.replace(plan, resume_step=start.step)


def pretrain(
    files: PretrainFiles,
    config: PretrainConfig,
    *,
    resume: Resume = "auto",
    force: bool = False,
    fail_above: float | None = None,
    division: Division = ONE,
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
        division: of the model and its batches over the processes that torchrun started. Every one of them
            calls this; the first writes the files, the others show no progress.
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
    config = replace(config, device=own_device(config.device))
    with joined_ranks(division.degrees(), config.device) as ranks, ExitStack() as stack:
        progress = progress if ranks.is_first else SILENT
        claim, resume = None, resume_now(files.out, resume)
        with ranks.first():
            if ranks.is_first:
                check_records(files.out, files.metrics, files.tensorboard, files.inputs, force=force)
                claim = stack.enter_context(claimed(files.out, files.begun_from))
                check_resume(files.out, resume=resume, force=force)
            cache = files.out / CACHE
            job = open_job(files, config, cache, invocation, progress, degrees=ranks.degrees)
            start = find_start(files.out, job.setup.recipe, resume=resume, force=force, progress=progress)
            check_metrics_file(files.out, files.metrics, resumes=start.step > 0, force=force)
            check_resources(job.setup, config, job.source.config, files.out, processes_here=processes_here())
        report = run_training(
            job,
            start,
            stop,
            invocation,
            progress,
            claim=claim,
            build_trainer=partial(_build_trainer, ranks),
            duties_of=build_duties,
            finish=lambda ended: _report(job, ended),
        )
    hint = f"train its model on (-m {files.out}, another -o), on more text, or a larger --preset"
    check_loss(files.out, report, fail_above, hint=hint)
    return report


def _build_trainer(ranks: Ranks, job: Job, start: Start) -> Trainer:
    setup, config = job.setup, job.config
    home = torch.device("cpu") if ranks.degrees.is_split else setup.device  # its parts alone go further
    if start.checkpoint is not None:
        model = load_weights(start.checkpoint, home)
    else:
        model = build_model(job.source, setup.recipe.seed, home)
    divided = divide_model(model, config, setup.recipe, ranks)
    divided.model.to(setup.device)
    trainer = Trainer(
        divided,
        job.data.rows,
        setup.recipe,
        micro_batch_rows=setup.micro_batch_rows,
        on_nonfinite=config.on_nonfinite,
        on_spike=config.on_spike,
        norms_every=config.log_norms,
    )
    if start.checkpoint is not None and start.state is not None:
        restore_trainer(trainer, start.checkpoint, start.state)
    return trainer


def _report(job: Job, ended: Ended) -> PretrainReport:
    """The figures of the whole run; those from before a resume come from its metrics."""
    trainer, log, past = ended.trainer, ended.log, ended.past
    losses = [told_number(one, "loss") for one in past if "event" not in one]
    evaluations = [one for one in past if one.get("event") == "eval"]
    new, old = log.last_evaluation, evaluations[-1] if evaluations else {}
    newest = list_checkpoints(job.files.out)[0][-1]
    return PretrainReport(
        out=str(job.files.out),
        parameters=architecture_of(job.source.config).parameters,
        steps=trainer.step,
        tokens=trainer.tokens,
        loss=log.last.loss if log.last else next(reversed(losses), None),
        valid_loss=new.loss if new else told_number(old, "valid_loss"),
        bits_per_byte=new.bits_per_byte if new else old.get("bits_per_byte"),
        seconds=round(log.seconds, 3),
        tokens_per_second=log.tokens_per_second,
        mfu=log.mfu,
        memory_bytes=used_memory_bytes(job.setup.device),
        skipped_steps=trainer.skipped,
        resumed_step=ended.start.step,
        checkpoint=inside(newest, job.files.out),
    )
