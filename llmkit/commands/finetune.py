"""llmkit finetune: a model and examples in, a model or an adapter folder out; stopped and resumed at will."""

import sys
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from llmkit.commands import finetune_flags as own
from llmkit.commands import run_flags as flags
from llmkit.commands.base import Session
from llmkit.commands.finetune_text import describe_plan, describe_report
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.parallel_flags import ONE_REPLICA, Replicas, speaking, start_processes
from llmkit.commands.shared import (
    DryRun,
    Force,
    JsonReport,
    LogEvery,
    Seed,
    SkipBad,
    inputs_or_stdin,
    print_report,
)
from llmkit.formats.streams import STDIO
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.train.finetune_config import PRETRAINS_ALONE, FinetuneConfig

LORA_FLAGS = (
    *("lora", "rank", "alpha", "dropout", "targets", "lora_layers", "save_modules"),
    *("rslora", "dora", "qlora"),
)


@with_flag_groups
def finetune(
    ctx: typer.Context,
    model: own.Model,
    out: Annotated[Path, Option("--out", "-o", metavar="RUN", help="Folder of the run.")],
    data: own.Data = None,
    valid: own.Valid = None,
    valid_fraction: own.ValidFraction = SuperviseConfig.valid_fraction,
    method: own.Method = FinetuneConfig.method,
    lora: own.Lora = False,
    rank: own.Rank = None,
    alpha: own.Alpha = None,
    dropout: own.Dropout = None,
    targets: own.Targets = None,
    lora_layers: own.LoraLayers = None,
    save_modules: own.SaveModules = None,
    rslora: own.Rslora = False,
    dora: own.Dora = False,
    qlora: own.Qlora = False,
    last_layers: own.LastLayers = None,
    tokenizer: own.TokenizerPath = None,
    template: own.Template = None,
    max_tokens: own.MaxTokens = SuperviseConfig.max_tokens,
    long: own.Long = SuperviseConfig.long,
    seq_len: own.SeqLen = None,
    show_mask: own.ShowMask = 0,
    strict: own.Strict = False,
    rejects: own.Rejects = None,
    skip_bad: SkipBad = False,
    beta: own.Beta = None,
    gamma: own.Gamma = None,
    label_smoothing: own.LabelSmoothing = None,
    desirable_weight: own.DesirableWeight = None,
    undesirable_weight: own.UndesirableWeight = None,
    teacher: own.Teacher = None,
    temperature: own.Temperature = None,
    direction: own.Direction = None,
    hard_weight: own.HardWeight = None,
    reward: own.Reward = None,
    reward_timeout: own.RewardTimeout = None,
    group_size: own.GroupSize = None,
    completion_tokens: own.CompletionTokens = None,
    updates_per_rollout: own.UpdatesPerRollout = None,
    clip_ratio: own.ClipRatio = None,
    steps: flags.Steps = FinetuneConfig.steps,
    epochs: flags.Epochs = None,
    tokens: flags.Tokens = None,
    batch_rows: own.BatchRows = None,
    batch_tokens: flags.BatchTokens = None,
    micro_batch_rows: flags.MicroBatchRows = None,
    lr: own.Lr = None,
    min_lr_ratio: flags.MinLrRatio = FinetuneConfig.min_lr_ratio,
    schedule: flags.Schedule = FinetuneConfig.schedule,
    warmup_steps: flags.WarmupSteps = None,
    decay_ratio: flags.DecayRatio = FinetuneConfig.decay_ratio,
    beta1: flags.Beta1 = FinetuneConfig.beta1,
    beta2: flags.Beta2 = FinetuneConfig.beta2,
    weight_decay: flags.WeightDecay = FinetuneConfig.weight_decay,
    clip: flags.Clip = FinetuneConfig.clip,
    router_aux_loss_coef: flags.RouterAuxLossCoef = None,
    router_z_loss_coef: flags.RouterZLossCoef = None,
    router_bias_update: flags.RouterBiasUpdate = None,
    seed: Seed = FinetuneConfig.seed,
    dtype: flags.Dtype = FinetuneConfig.dtype,
    on_nonfinite: flags.OnNonfinite = FinetuneConfig.on_nonfinite,
    on_spike: flags.OnSpike = FinetuneConfig.on_spike,
    patience: own.Patience = FinetuneConfig.patience,
    eval_every: flags.EvalEvery = None,
    eval_rows: flags.EvalRows = None,
    sample_every: flags.SampleEvery = FinetuneConfig.sample_every,
    sample_prompt: own.SamplePrompt = None,
    sample_tokens: flags.SampleTokens = FinetuneConfig.sample_tokens,
    sample_temperature: flags.SampleTemperature = FinetuneConfig.sample_temperature,
    checkpoint_every: flags.CheckpointEvery = None,
    keep: flags.Keep = FinetuneConfig.keep,
    keep_every: flags.KeepEvery = None,
    resume: flags.Resume = "auto",
    max_time: flags.MaxTime = None,
    fail_above: flags.FailAbove = None,
    metrics: flags.Metrics = None,
    tensorboard: flags.Tensorboard = None,
    log_norms: flags.LogNorms = FinetuneConfig.log_norms,
    profile: flags.Profile = None,
    compile_model: flags.CompileModel = False,
    activation_checkpointing: flags.ActivationCheckpointing = FinetuneConfig.activation_checkpointing,
    device: flags.Device = FinetuneConfig.device,
    threads: flags.Threads = FinetuneConfig.threads,
    replicas: Replicas = ONE_REPLICA,
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
    from llmkit.workflows.finetune.job import FinetuneFiles
    from llmkit.workflows.run.ranks import first_speaks, is_first_process

    session: Session = ctx.obj
    console = speaking(session.console)
    given = {
        **{"document_mask": True, **ctx.params},
        **{"compile": compile_model, "max_seconds": max_time},
        "lora": own.lora_config(**{name: ctx.params[name] for name in LORA_FLAGS}),
    }
    names = [one.name for one in fields(FinetuneConfig) if one.name not in PRETRAINS_ALONE]
    config = FinetuneConfig(**{name: given[name] for name in names})
    start_processes(replicas)
    files = FinetuneFiles(
        model=model,
        data=tuple(inputs_or_stdin(data, "llmkit finetune MODEL --data chat.jsonl -o run")),
        valid=tuple(valid or ()),
        tokenizer=tokenizer,
        template=template,
        out=out,
        supervise=SuperviseConfig(max_tokens=max_tokens, long=long, valid_fraction=valid_fraction, seed=seed),
        seq_len=seq_len,
        rejects=rejects,
        strict=strict,
        skip_bad=skip_bad,
        shown=show_mask,
        teacher=teacher,
        reward=reward,
        reward_seconds=reward_timeout,
        metrics=metrics,
        tensorboard=tensorboard,
        prompts=tuple(sample_prompt or ()),
    )

    def show(samples: list[Any]) -> None:
        from llmkit.commands.finetune_mask_text import mask_text

        for sample in samples:
            print(mask_text(sample, color=session.console.uses_color(sys.stderr)), file=sys.stderr)

    common: dict[str, Any] = {"resume": resume, "show": show, "invocation": session.invocation}
    speaks = console.progress("fine-tuning", log_every=log_every, panel=True)
    with first_speaks(), speaks as progress:
        if dry_run:
            plan = plan_finetune(files, config, progress=progress, **common)
        else:
            report = run(
                files,
                config,
                force=force,
                fail_above=fail_above,
                division=replicas.division(),
                progress=progress,
                **common,
            )
    if dry_run:
        print_report(plan, as_json, describe_plan)
    elif metrics != STDIO and is_first_process():
        print_report(report, as_json, describe_report)
