"""llmkit pretrain: shards or documents in, a model folder out; stopped and resumed at will."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from llmkit.commands import pretrain_flags as own
from llmkit.commands import run_flags as flags
from llmkit.commands.base import Session
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.parallel_flags import (
    ALONE,
    Processes,
    count_processes,
    refuse_processes,
    speaking,
    start_processes,
)
from llmkit.commands.pretrain_text import describe_plan, describe_report
from llmkit.commands.pretrain_trial_text import describe_trial
from llmkit.commands.shared import (
    DryRun,
    Force,
    JsonReport,
    LogEvery,
    Seed,
    inputs_or_stdin,
    print_made,
    print_report,
)
from llmkit.commands.values import parse_count
from llmkit.tokens.config import PackConfig
from llmkit.train.config import PretrainConfig

STDIO = Path("-")
MODEL_FLAGS = (
    *("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "num_experts", "num_experts_per_tok", "moe_intermediate_size"),
    *("max_position_embeddings", "rope_theta", "tie_word_embeddings", "initializer_range", "vocab_size"),
    *("qk_norm", "final_logit_softcapping"),
)
"""Flags with the names of config.json's keys: they change the preset."""


@with_flag_groups
def pretrain(
    ctx: typer.Context,
    out: Annotated[Path, Option("--out", "-o", metavar="RUN", help="Folder of the run.")],
    data: Annotated[
        list[Path] | None,
        Option("--data", metavar="PATH", help="Shard folder, or documents; - is stdin. Repeatable."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        Option("--tokenizer", "-t", metavar="PATH", help="For documents, samples, the model folder."),
    ] = None,
    valid: Annotated[
        list[Path] | None, Option("--valid", metavar="PATH", help="Held-out shards or documents. Repeatable.")
    ] = None,
    preset: Annotated[str, Option("--preset", metavar="NAME", help="Shape of a fresh model.")] = "tiny",
    model: Annotated[
        Path | None,
        Option("--model", "-m", metavar="PATH", help="Model folder or GGUF file, or a config.json."),
    ] = None,
    model_type: Annotated[
        str | None, Option(metavar="NAME", help="The family: llama, qwen3, mistral, ...")
    ] = None,
    hidden_size: Annotated[int | None, Option(metavar="N")] = None,
    intermediate_size: Annotated[int | None, Option(metavar="N")] = None,
    num_hidden_layers: Annotated[int | None, Option(metavar="N")] = None,
    num_attention_heads: Annotated[int | None, Option(metavar="N")] = None,
    num_key_value_heads: Annotated[int | None, Option(metavar="N")] = None,
    head_dim: Annotated[int | None, Option(metavar="N")] = None,
    num_experts: Annotated[int | None, Option(metavar="N", help="Of a mixture, in each layer.")] = None,
    num_experts_per_tok: Annotated[int | None, Option(metavar="N")] = None,
    moe_intermediate_size: Annotated[int | None, Option(metavar="N", help="Of one expert.")] = None,
    max_position_embeddings: Annotated[
        int | None, Option(metavar="N", parser=parse_count, help="Default: the row length.")
    ] = None,
    rope_theta: Annotated[float | None, Option(metavar="X")] = None,
    qk_norm: own.QkNorm = None,
    final_logit_softcapping: own.FinalLogitSoftcapping = None,
    tie_word_embeddings: Annotated[bool | None, Option()] = None,
    initializer_range: Annotated[
        float | None, Option(metavar="X", help="Spread of fresh weights; default 0.7 / sqrt(hidden_size).")
    ] = None,
    vocab_size: Annotated[
        int | None,
        Option(metavar="N", parser=parse_count, help="At least the tokenizer's, which is the default."),
    ] = None,
    seq_len: Annotated[
        int | None, Option(metavar="N", parser=parse_count, help="Row length for documents.")
    ] = None,
    steps: flags.Steps = PretrainConfig.steps,
    epochs: flags.Epochs = None,
    tokens: flags.Tokens = None,
    tokens_per_parameter: own.TokensPerParameter = None,
    target_flops: own.TargetFlops = None,
    batch_rows: flags.BatchRows = None,
    batch_tokens: flags.BatchTokens = None,
    batch_ramp: own.BatchRamp = None,
    micro_batch_rows: flags.MicroBatchRows = None,
    lr: Annotated[
        float | None, Option(metavar="X", help="Peak learning rate; default 3e-3 * sqrt(128 / hidden_size).")
    ] = None,
    mup_base_width: own.MupBaseWidth = None,
    min_lr_ratio: flags.MinLrRatio = PretrainConfig.min_lr_ratio,
    schedule: flags.Schedule = PretrainConfig.schedule,
    warmup_steps: flags.WarmupSteps = None,
    decay_ratio: flags.DecayRatio = PretrainConfig.decay_ratio,
    optimizer: own.Optimizer = PretrainConfig.optimizer,
    momentum: own.Momentum = None,
    beta1: flags.Beta1 = PretrainConfig.beta1,
    beta2: flags.Beta2 = PretrainConfig.beta2,
    weight_decay: flags.WeightDecay = PretrainConfig.weight_decay,
    clip: flags.Clip = PretrainConfig.clip,
    z_loss: own.ZLoss = None,
    router_aux_loss_coef: flags.RouterAuxLossCoef = None,
    router_z_loss_coef: flags.RouterZLossCoef = None,
    router_bias_update: flags.RouterBiasUpdate = None,
    seed: Seed = PretrainConfig.seed,
    dtype: flags.Dtype = PretrainConfig.dtype,
    fp8: own.Fp8 = False,
    document_mask: flags.DocumentMask = PretrainConfig.document_mask,
    on_nonfinite: flags.OnNonfinite = PretrainConfig.on_nonfinite,
    on_spike: own.OnSpike = PretrainConfig.on_spike,
    max_rewinds: own.MaxRewinds = None,
    eval_every: flags.EvalEvery = None,
    eval_rows: flags.EvalRows = None,
    sample_every: flags.SampleEvery = PretrainConfig.sample_every,
    sample_prompt: Annotated[
        list[str] | None, Option(metavar="TEXT", help="What samples go on from. Repeatable.")
    ] = None,
    sample_tokens: flags.SampleTokens = PretrainConfig.sample_tokens,
    sample_temperature: flags.SampleTemperature = PretrainConfig.sample_temperature,
    checkpoint_every: flags.CheckpointEvery = None,
    keep: flags.Keep = PretrainConfig.keep,
    keep_every: flags.KeepEvery = None,
    async_checkpoint: own.AsyncCheckpoint = False,
    resume: flags.Resume = "auto",
    max_time: flags.MaxTime = None,
    fail_above: flags.FailAbove = None,
    metrics: flags.Metrics = None,
    tensorboard: flags.Tensorboard = None,
    log_norms: flags.LogNorms = PretrainConfig.log_norms,
    profile: flags.Profile = None,
    compile_model: flags.CompileModel = False,
    activation_checkpointing: flags.ActivationCheckpointing = PretrainConfig.activation_checkpointing,
    device: flags.Device = PretrainConfig.device,
    threads: flags.Threads = PretrainConfig.threads,
    processes: Processes = ALONE,
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
    from llmkit.workflows.pretrain.job import PretrainFiles
    from llmkit.workflows.pretrain.pretrain import plan_pretrain
    from llmkit.workflows.pretrain.pretrain import pretrain as run
    from llmkit.workflows.pretrain.trial import try_out
    from llmkit.workflows.run.ranks import first_speaks, is_first_process

    if overfit_batch or find_lr:
        refuse_processes(processes)
    own.check_calibrate(calibrate=calibrate, dry_run=dry_run)
    own.check_trial(overfit_batch=overfit_batch, find_lr=find_lr, dry_run=dry_run, fail_above=fail_above)
    session: Session = ctx.obj
    console = speaking(session.console)
    given = {**ctx.params, "compile": compile_model, "max_seconds": max_time}
    config = PretrainConfig(**{one.name: given[one.name] for one in fields(PretrainConfig)})
    count = count_processes(processes)
    only_planned = dry_run and not calibrate
    if only_planned and not is_first_process():
        return
    if not only_planned:
        start_processes(processes)
    files = PretrainFiles(
        data=tuple(inputs_or_stdin(data, "llmkit pretrain --data shards -o run")),
        valid=tuple(valid or ()),
        tokenizer=tokenizer,
        preset=preset,
        model=model,
        overrides={name: given[name] for name in MODEL_FLAGS if given[name] is not None},
        out=out,
        packing=PackConfig() if seq_len is None else PackConfig(seq_len=seq_len),
        seq_len=seq_len,
        metrics=metrics,
        tensorboard=tensorboard,
        prompts=tuple(sample_prompt or ("",)),
    )
    if overfit_batch or find_lr:
        with session.console.progress("trying", log_every=log_every) as progress:
            trial = try_out(
                files,
                config,
                rates=find_lr,
                fail_above=fail_above,
                invocation=session.invocation,
                progress=progress,
            )
        print_report(trial, as_json, describe_trial)
        return
    with first_speaks(), console.progress("pretraining", log_every=log_every, panel=True) as progress:
        if dry_run:
            plan = plan_pretrain(
                files,
                config,
                resume=resume,
                calibrate=calibrate,
                division=processes.division(),
                processes=count if only_planned else None,
                invocation=session.invocation,
                progress=progress,
            )
        else:
            report = run(
                files,
                config,
                resume=resume,
                force=force,
                fail_above=fail_above,
                division=processes.division(),
                invocation=session.invocation,
                progress=progress,
            )
    if dry_run and is_first_process():
        print_report(plan, as_json, describe_plan)
    elif not dry_run and metrics != STDIO and is_first_process():
        print_made(report, as_json, describe_report, console)
