"""llmkit pretrain: shards or documents in, a model folder out; stopped and resumed at will."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from llmkit.commands import run_flags as flags
from llmkit.commands.base import Session
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.parallel_flags import (
    Processes,
    count_processes,
    refuse_processes,
    speaking,
    start_processes,
)
from llmkit.commands.pretrain import flags as own
from llmkit.commands.pretrain import shape_flags
from llmkit.commands.pretrain.text import describe_plan, describe_report, describe_trial
from llmkit.commands.run_start import stoppable
from llmkit.commands.shared import (
    DryRun,
    Force,
    JsonReport,
    LogEvery,
    Seed,
    inputs_or_stdin,
    print_report,
)
from llmkit.commands.values import parse_count
from llmkit.errors import UsageError
from llmkit.formats.streams import STDIO
from llmkit.tokens.config import PackConfig
from llmkit.train.config import PretrainConfig

if TYPE_CHECKING:
    from llmkit.workflows.pretrain.job import PretrainFiles


@with_flag_groups
@stoppable
def pretrain(
    ctx: typer.Context,
    *,
    out: Annotated[Path, Option("--out", "-o", metavar="RUN", help="Folder of the run.")],
    sources: own.Sources,
    shape: shape_flags.Shape,
    seq_len: Annotated[
        int | None, Option(metavar="N", parser=parse_count, help="Row length for documents.")
    ] = None,
    budget: flags.Budget,
    rules: own.Rules,
    batches: own.Batches,
    lr: Annotated[
        float | None, Option(metavar="X", help="Peak learning rate; default 3e-3 * sqrt(128 / hidden_size).")
    ] = None,
    mup_base_width: own.MupBaseWidth = None,
    decay: flags.Decay,
    optimizer: own.Optimizer = PretrainConfig.optimizer,
    momentum: own.Momentum = None,
    adamw: flags.AdamW,
    z_loss: own.ZLoss = None,
    routers: flags.Routers,
    seed: Seed = PretrainConfig.seed,
    dtype: flags.Dtype = PretrainConfig.dtype,
    fp8: own.Fp8 = False,
    document_mask: flags.DocumentMask = PretrainConfig.document_mask,
    on_nonfinite: flags.OnNonfinite = PretrainConfig.on_nonfinite,
    on_spike: own.OnSpike = PretrainConfig.on_spike,
    max_rewinds: own.MaxRewinds = None,
    eval_every: flags.EvalEvery = None,
    eval_rows: flags.EvalRows = None,
    samples: flags.Samples,
    checkpoints: flags.Checkpoints,
    async_checkpoint: own.AsyncCheckpoint = False,
    resume: flags.Resume = "auto",
    max_time: flags.MaxTime = None,
    fail_above: flags.FailAbove = None,
    records: flags.Records,
    machine: flags.Machine,
    processes: Processes,
    overfit_batch: own.OverfitBatch = False,
    find_lr: own.FindLr = False,
    dry_run: DryRun = False,
    calibrate: own.Calibrate = False,
    force: Force = False,
    as_json: JsonReport = False,
    log_every: LogEvery = 10.0,
) -> None:
    """Train a language model from scratch, or train one on.

    RUN is a model folder that transformers opens, with its checkpoints and
    metrics. The same line run again goes on where it stopped, bit for bit.

    \b
    Examples:
      llmkit pretrain --data shards -t tok -o run2 --steps 20
      llmkit pretrain --data corpus.txt --valid valid.txt -t tok -o run3 --steps 5
      llmkit pretrain --data shards --preset small -o run4 --dry-run
    """
    from llmkit.workflows.pretrain.pretrain import plan_pretrain
    from llmkit.workflows.pretrain.pretrain import pretrain as run
    from llmkit.workflows.run.ranks import is_first_process

    if overfit_batch or find_lr:
        refuse_processes(processes)
    else:
        flags.check_stdout(records, as_json=as_json, dry_run=dry_run)
    own.check_calibrate(calibrate=calibrate, dry_run=dry_run)
    own.check_trial(overfit_batch=overfit_batch, find_lr=find_lr, dry_run=dry_run, fail_above=fail_above)
    session: Session = ctx.obj
    console = speaking(session.console)
    given = {**ctx.params, "compile": machine.compile_model, "max_seconds": max_time}
    config = PretrainConfig(**{one.name: given[one.name] for one in fields(PretrainConfig)})
    count = count_processes(processes)
    only_planned = dry_run and not calibrate
    if only_planned and not is_first_process():
        return
    if not only_planned:
        start_processes(processes)
    files = _files(out, sources, shape, seq_len, records, samples)
    if overfit_batch or find_lr:
        _try_out(ctx, files, config, rates=find_lr)
        return
    common: dict[str, Any] = {"resume": resume, "force": force, "division": processes.division()}
    common |= {"invocation": session.invocation}
    with console.progress("pretraining", log_every=log_every, panel=True) as progress:
        if dry_run:
            started = count if only_planned else None
            plan = plan_pretrain(
                files, config, calibrate=calibrate, processes=started, progress=progress, **common
            )
        else:
            report = run(files, config, fail_above=fail_above, progress=progress, **common)
    if dry_run and is_first_process():
        print_report(plan, as_json, describe_plan)
    elif not dry_run and records.metrics != STDIO and is_first_process():
        print_report(report, as_json, describe_report, quiet=console.quiet)


def _try_out(ctx: typer.Context, files: "PretrainFiles", config: PretrainConfig, *, rates: bool) -> None:
    """A hundred updates, of one batch or at rising rates: the report alone."""
    from llmkit.workflows.pretrain.trial import try_out

    session: Session = ctx.obj
    if idle := own.flags_of_a_run(ctx):
        told = "--find-lr" if rates else "--overfit-batch"
        session.console.note(
            f"{told} is a trial of 100 updates, to which these say nothing: {', '.join(idle)}"
        )
    given = ctx.params
    with session.console.progress("trying", log_every=given["log_every"]) as progress:
        trial = try_out(
            files,
            config,
            rates=rates,
            fail_above=given["fail_above"],
            invocation=session.invocation,
            progress=progress,
        )
    print_report(trial, given["as_json"], describe_trial)


def _files(
    out: Path,
    sources: own.Sources,
    shape: shape_flags.Shape,
    seq_len: int | None,
    records: flags.Records,
    samples: flags.Samples,
) -> "PretrainFiles":
    """What the run reads and writes."""
    from llmkit.workflows.pretrain.job import PretrainFiles

    # files of --print-config named the default too, beside --model
    if sources.model is not None and sources.preset not in (None, PretrainFiles.preset):
        raise UsageError(
            f"both --preset {sources.preset} and --model: each is the model's shape", hint="give one of them"
        )
    return PretrainFiles(
        data=tuple(inputs_or_stdin(sources.data, "llmkit pretrain --data shards -o run")),
        valid=tuple(sources.valid or ()),
        tokenizer=sources.tokenizer,
        preset=sources.preset or PretrainFiles.preset,
        model=sources.model,
        overrides=shape.overrides(),
        rope_scaling=sources.rope_scaling,
        out=out,
        packing=PackConfig() if seq_len is None else PackConfig(seq_len=seq_len),
        seq_len=seq_len,
        metrics=records.metrics,
        tensorboard=records.tensorboard,
        prompts=tuple(samples.sample_prompt or ("",)),
    )
