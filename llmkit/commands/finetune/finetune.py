"""llmkit finetune: a model and examples in, a model or an adapter folder out; stopped and resumed at will."""

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from llmkit.commands import run_flags as flags
from llmkit.commands.base import Session
from llmkit.commands.finetune import flags as own
from llmkit.commands.finetune import lora_flags as low_rank
from llmkit.commands.finetune.text import describe_plan, describe_report
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.parallel_flags import Replicas, count_processes, speaking, start_processes
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
from llmkit.formats.streams import STDIO
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.train.finetune_config import PRETRAINS_ALONE, FinetuneConfig

if TYPE_CHECKING:
    from llmkit.workflows.finetune.job import FinetuneFiles


@with_flag_groups
@stoppable
def finetune(
    ctx: typer.Context,
    *,
    model: own.Model,
    out: Annotated[Path, Option("--out", "-o", metavar="RUN", help="Folder of the run.")],
    examples: own.Examples,
    method: own.Method = FinetuneConfig.method,
    adapters: low_rank.Adapters,
    last_layers: own.LastLayers = None,
    reading: own.Reading,
    preferences: own.Preferences,
    distillation: own.Distillation,
    rewards: own.Rewards,
    budget: flags.Budget,
    batch_rows: own.BatchRows = None,
    batch_tokens: flags.BatchTokens = None,
    micro_batch_rows: flags.MicroBatchRows = None,
    lr: own.Lr = None,
    decay: flags.Decay,
    adamw: own.AdamW,
    routers: flags.Routers,
    seed: Seed = FinetuneConfig.seed,
    dtype: flags.Dtype = FinetuneConfig.dtype,
    on_nonfinite: flags.OnNonfinite = FinetuneConfig.on_nonfinite,
    on_spike: flags.OnSpike = FinetuneConfig.on_spike,
    patience: own.Patience = FinetuneConfig.patience,
    eval_every: flags.EvalEvery = None,
    eval_rows: flags.EvalRows = None,
    samples: own.Samples,
    checkpoints: flags.Checkpoints,
    resume: flags.Resume = "auto",
    max_time: flags.MaxTime = None,
    fail_above: flags.FailAbove = None,
    records: flags.Records,
    machine: flags.Machine,
    replicas: Replicas,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: JsonReport = False,
    log_every: LogEvery = 10.0,
) -> None:
    """Teach a model from examples: answers, preferences, rewards, a teacher.

    RUN is a model folder, or with --lora PEFT's folder of an adapter. The same
    line run again goes on where it stopped, bit for bit. With --valid the best
    checkpoint is what RUN has in the end.

    \b
    Methods
      sft                   answers       {"messages"} or {"prompt","completion"}
      dpo ipo hinge robust  preferences   {"prompt","chosen","rejected"}
      orpo simpo            the same, without a reference model
      kto                   good and bad  {"prompt","completion","label"}
      grpo                  rewards       {"prompt"}, --reward CMD
      kd                    a teacher's probabilities of the answers, --teacher

    \b
    Examples:
      llmkit finetune run --data chat.jsonl -o tuned --valid-fraction 0.1
      llmkit finetune run --data chat.jsonl --lora -o adapter --show-mask 2
      llmkit finetune run --data pairs.jsonl --method dpo --lora -o aligned
    """
    from llmkit.workflows.finetune.finetune import finetune as run
    from llmkit.workflows.finetune.finetune import plan_finetune
    from llmkit.workflows.run.ranks import is_first_process

    flags.check_stdout(records, as_json=as_json, dry_run=dry_run)
    session: Session = ctx.obj
    console = speaking(session.console)
    config = _config(ctx.params, machine, max_time, adapters)
    if dry_run and not is_first_process():
        return
    count = count_processes(replicas)
    if not dry_run:
        start_processes(replicas)
    files = _files(model, out, examples, reading, distillation, rewards, records, samples, seed)

    def show(masked: list[Any]) -> None:
        from llmkit.commands.finetune.mask_text import mask_text

        for sample in masked:
            print(mask_text(sample, color=session.console.uses_color(sys.stderr)), file=sys.stderr)

    common: dict[str, Any] = {"resume": resume, "force": force, "show": show}
    common |= {"invocation": session.invocation, "division": replicas.division()}
    speaks = console.progress("fine-tuning", log_every=log_every, panel=True)
    with speaks as progress:
        if dry_run:
            plan = plan_finetune(files, config, processes=count, progress=progress, **common)
        else:
            report = run(
                files,
                config,
                fail_above=fail_above,
                progress=progress,
                **common,
            )
    if dry_run:
        print_report(plan, as_json, describe_plan)
    elif records.metrics != STDIO and is_first_process():
        print_report(report, as_json, describe_report, quiet=console.quiet)


def _config(
    params: dict[str, Any], machine: flags.Machine, max_time: float | None, adapters: low_rank.Adapters
) -> FinetuneConfig:
    """The settings of the run: flags by their names, but for these."""
    given = {
        **{"document_mask": True, **params},
        **{"compile": machine.compile_model, "max_seconds": max_time, "lora": adapters.config()},
    }
    names = [one.name for one in fields(FinetuneConfig) if one.name not in PRETRAINS_ALONE]
    return FinetuneConfig(**{name: given[name] for name in names})


def _files(
    model: Path,
    out: Path,
    examples: own.Examples,
    reading: own.Reading,
    distillation: own.Distillation,
    rewards: own.Rewards,
    records: flags.Records,
    samples: own.Samples,
    seed: int,
) -> "FinetuneFiles":
    """What the run reads and writes."""
    from llmkit.workflows.finetune.job import FinetuneFiles

    return FinetuneFiles(
        model=model,
        data=tuple(inputs_or_stdin(examples.data, "llmkit finetune MODEL --data chat.jsonl -o run")),
        valid=tuple(examples.valid or ()),
        tokenizer=reading.tokenizer,
        template=reading.template,
        out=out,
        supervise=SuperviseConfig(
            max_tokens=reading.max_tokens,
            long=reading.long,
            valid_fraction=examples.valid_fraction,
            seed=seed,
        ),
        seq_len=reading.seq_len,
        rope_scaling=reading.rope_scaling,
        rejects=reading.rejects,
        strict=reading.strict,
        skip_bad=reading.skip_bad,
        shown=reading.show_mask,
        teacher=distillation.teacher,
        reward=rewards.reward,
        reward_seconds=rewards.reward_timeout,
        metrics=records.metrics,
        tensorboard=records.tensorboard,
        prompts=tuple(samples.sample_prompt or ()),
    )
