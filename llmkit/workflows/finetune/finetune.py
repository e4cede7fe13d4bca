"""Fine-tune a model, resumably: open model and examples, train, and leave a model or an adapter folder."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import torch

from llmkit.errors import UsageError
from llmkit.formats.checkpoint import CHECKPOINTS
from llmkit.formats.metrics import METRICS
from llmkit.formats.provenance import Invocation
from llmkit.formats.rejects import check_rejects, holds_rejects
from llmkit.progress import SILENT, Progress
from llmkit.train.best import Best
from llmkit.train.config import Resume
from llmkit.train.finetune_config import FinetuneConfig
from llmkit.train.hardware import threads_set
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.stop import StopRequest
from llmkit.workflows.finetune.audit import STAGE, check_strict
from llmkit.workflows.finetune.job import FinetuneFiles, open_finetune
from llmkit.workflows.finetune.plan import FinetunePlan, check_finetune_resources, plan_finetune_run
from llmkit.workflows.finetune.report import FinetuneReport, build_report
from llmkit.workflows.finetune.reward_command import TIMEOUT_SECONDS, RewardCommand
from llmkit.workflows.finetune.run import FinetuneRun
from llmkit.workflows.finetune.samples import Sample
from llmkit.workflows.run.claim import claimed
from llmkit.workflows.run.folder import (
    CACHE,
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
    was_restarted,
    world_size,
)
from llmkit.workflows.run.restart import resume_now
from llmkit.workflows.run.training import check_loss, run_training

ALONE_METHODS = ("grpo", "kto")
"""Methods with figures of a whole batch, or with answers written in between."""

Show = Callable[[list[Sample]], None]


def plan_finetune(
    files: FinetuneFiles,
    config: FinetuneConfig,
    *,
    resume: Resume,
    force: bool = False,
    show: Show,
    division: Division = ONE,
    processes: int = 1,
    invocation: Invocation,
    progress: Progress,
) -> FinetunePlan:
    """What `finetune` would do and take. Examples are packed into a folder that is removed again.

    Args:
        files, config, resume, force, show, division: as for `finetune`.
        processes: that the run would have; they are not started.
        invocation, progress: as for `finetune`.
    """
    check_folder(files.out, files.begun_from)
    check_records(files.out, files.metrics, files.tensorboard, files.inputs, force=force)
    replaces = force or _were_kept(files, resume)
    check_rejects(files.rejects, force=replaces, inputs=files.data, out=files.out)
    degrees = division.degrees(processes)
    _check_method(config, degrees)
    here = processes if world_size() == 1 else processes_here()
    threads = torch.get_num_threads() if processes == 1 else threads_of(processes)
    with TemporaryDirectory(prefix="llmkit-") as scratch, threads_set(threads):
        quiet = replace(files, rejects=None)
        job = open_finetune(quiet, config, Path(scratch), invocation, progress, force=True, degrees=degrees)
        show(job.samples)
        check_strict(job.audit, files.strict)
        start = find_start(files.out, job.setup.recipe, resume=resume, force=True, progress=progress)
        plan = plan_finetune_run(job, processes_here=here)
    return msgspec.structs.replace(plan, resume_step=start.step)


def finetune(
    files: FinetuneFiles,
    config: FinetuneConfig,
    *,
    resume: Resume = "auto",
    force: bool = False,
    fail_above: float | None = None,
    division: Division = ONE,
    show: Show = lambda samples: None,
    invocation: Invocation,
    progress: Progress,
) -> FinetuneReport:
    """Train, and leave a model folder, or PEFT's folder of an adapter, in files.out.

    Args:
        files: what to read and where to write.
        config: how to train.
        resume: `auto` goes on from the newest checkpoint of a run with the same settings; `never` starts
            over; `must` starts nothing new.
        force: with `never`, replace the run that is there.
        fail_above: the loss (of validation, where there is one) above which the result is not good enough.
        division: of the batches over the processes that torchrun started: replicas. Every one of them calls
            this; the first writes the files.
        show: is given the examples that are to be shown, before training.
        invocation: recorded in llmkit.json.
        progress: shows the run.

    Raises:
        UsageError, DataError, MissingError, ResourceError: something does not fit; nothing was trained.
        StoppedResumable: SIGTERM or the time limit; a checkpoint is saved.
        KeyboardInterrupt: Ctrl-C; its text says where the run can be resumed.
        GateFailed: the audit found fault with the data and files.strict is set; or see `fail_above`.
        LlmkitError: the loss is not finite, or is a spike, and the run was to stop then, or the reward
            program failed.
    """
    stop = StopRequest(config.max_seconds)
    config = replace(config, device=own_device(config.device))
    degrees = division.degrees()
    _check_method(config, degrees)
    with joined_ranks(degrees, config.device) as ranks, ExitStack() as stack:
        progress = progress if ranks.is_first else SILENT
        claim, resume = None, resume_now(files.out, resume)
        with ranks.first():
            if ranks.is_first:
                check_records(files.out, files.metrics, files.tensorboard, files.inputs, force=force)
                claim = stack.enter_context(claimed(files.out, files.begun_from))
                check_resume(files.out, resume=resume, force=force)
            else:
                files = replace(files, rejects=None)
            cache = files.out / CACHE
            replaces = force or _were_kept(files, resume)
            job = open_finetune(
                files, config, cache, invocation, progress, force=replaces, degrees=ranks.degrees
            )
            if ranks.is_first:
                show(job.samples)
            check_strict(job.audit, files.strict)
            start = find_start(files.out, job.setup.recipe, resume=resume, force=force, progress=progress)
            check_metrics_file(files.out, files.metrics, resumes=start.step > 0, force=force)
            check_finetune_resources(job, processes_here=processes_here())
        score = None
        if files.reward is not None:
            seconds = TIMEOUT_SECONDS if files.reward_seconds is None else files.reward_seconds
            program = RewardCommand(files.reward, timeout_seconds=seconds)
            score = stack.enter_context(program).score
        run = FinetuneRun(job, score, ranks)
        report = run_training(
            job,
            start,
            stop,
            invocation,
            progress,
            claim=claim,
            build_trainer=lambda _, begin: run.build_trainer(begin),
            duties_of=lambda _, trainer, saver: run.build_duties(trainer, saver),
            finish=lambda ended: build_report(job, run, ended),
            best=Best(config.patience) if job.valid is not None else None,
        )
    hint = "another run (-o): longer (--epochs), with another --lr, or on more examples"
    check_loss(files.out, report, fail_above, hint=hint)
    return report


def _check_method(config: FinetuneConfig, degrees: Degrees) -> None:
    if degrees.world > 1 and config.method in ALONE_METHODS:
        raise UsageError(
            f"--method {config.method} by {degrees.world} processes: it looks at whole batches",
            hint="leave --nproc out",
        )


def _were_kept(files: FinetuneFiles, resume: Resume) -> bool:
    """Whether rejects are there that this run wrote before it stopped: it writes them anew each time."""
    has_begun = resume != "never" and any(
        (files.out / name).exists() for name in (CACHE, METRICS, CHECKPOINTS)
    )
    is_ours = files.rejects is not None and holds_rejects(files.rejects, STAGE)
    return is_ours and (has_begun or was_restarted())
