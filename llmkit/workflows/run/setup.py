"""The settings of a run, every open one resolved: its recipe, and how this machine carries it out."""

from dataclasses import dataclass

import torch

from llmkit.errors import ConfigError, UsageError
from llmkit.estimate.architecture_flops import train_flops_per_token
from llmkit.estimate.architecture_of import architecture_of
from llmkit.model.config import ModelConfig
from llmkit.model.extend_context import original_positions
from llmkit.train.budget import (
    resolve_batch_rows,
    resolve_micro_batch_rows,
    resolve_steps,
    resolve_warmup_steps,
)
from llmkit.train.config import (
    DECAY_RATIO,
    MUON_MOMENTUM,
    PretrainConfig,
    Recipe,
    default_lr,
    resolve_router,
)
from llmkit.train.hardware import check_float8, choose_device, choose_dtype, choose_threads
from llmkit.train.parallel.degrees import (
    ONE_PROCESS,
    Degrees,
    check_degrees,
    check_rows,
    check_stage_rows,
)
from llmkit.train.ramp import parse_ramp
from llmkit.train.width_scaling import check_width_scaling
from llmkit.workflows.pretrain.data import PretrainData


@dataclass(frozen=True)
class Setup:
    """The recipe of a run, and how this machine carries it out."""

    recipe: Recipe
    device: torch.device
    threads: int
    micro_batch_rows: int
    """Of one process."""
    eval_batch_rows: int
    """Of all processes together."""
    eval_every: int
    checkpoint_every: int
    flops_per_token: float
    degrees: Degrees = ONE_PROCESS
    """Of the processes that share the run."""


def set_up(
    config: PretrainConfig,
    model: ModelConfig,
    data: PretrainData,
    initial_sha256: str | None,
    *,
    longest: int | None = None,
    answers: int = 1,
    degrees: Degrees = ONE_PROCESS,
) -> Setup:
    """Resolve every setting that was left open.

    Args:
        longest: text in a row, where positions begin again with each; None: as long as a row.
        answers: that are written to each row, and learnt from in its place.
        degrees: of the processes that share the run.

    Raises:
        ConfigError: settings that cannot be met.
        MissingError: the device is not there.
        UsageError: rows longer than the model's positions.
    """
    seq_len, rows = data.seq_len, len(data.rows)
    trained = None if initial_sha256 is None else original_positions(model)
    check_positions(longest or seq_len, model.max_position_embeddings, trained)
    device = choose_device(config.device)
    batch_rows = check_batches(config, degrees, seq_len * answers)
    check_degrees(degrees, model, batch_rows, seq_len)
    if config.fp8:
        check_float8(device)
    if config.mup_base_width is not None:
        check_width_scaling(config.mup_base_width, model, config.optimizer)
    micro = resolve_micro_batch_rows(
        config,
        batch_rows=batch_rows // degrees.shares * answers,
        seq_len=seq_len // degrees.cp,
        device_type=device.type,
    )
    architecture = architecture_of(model)
    flops = train_flops_per_token(architecture, seq_len)
    steps = resolve_steps(
        config,
        rows=rows,
        seq_len=seq_len * answers,
        batch_rows=batch_rows,
        parameters=architecture.active_parameters,
        flops_per_token=flops,
    )
    recipe = _recipe(config, model, data, initial_sha256, device, steps=steps, batch_rows=batch_rows)
    return Setup(
        recipe=recipe,
        device=device,
        threads=choose_threads(config.threads, torch.get_num_threads(), flops * micro * seq_len / degrees.cp),
        micro_batch_rows=micro,
        eval_batch_rows=max(micro, 8192 // seq_len) * degrees.shares,
        eval_every=config.eval_every or max(1, -(-steps // 10)),
        checkpoint_every=config.checkpoint_every or max(1, -(-steps // 10)),
        flops_per_token=flops,
        degrees=degrees,
    )


def check_batches(config: PretrainConfig, degrees: Degrees, seq_len: int) -> int:
    """Rows of an update that the processes can share, at the beginning of a ramp too: it needs no data.

    Raises:
        ConfigError: they cannot, or a row cannot.
    """
    batch_rows = resolve_batch_rows(config, seq_len)
    check_rows(degrees, batch_rows, seq_len)
    ramp = None if config.batch_ramp is None else parse_ramp(config.batch_ramp, batch_rows)
    if ramp is not None and ramp.rows % degrees.shares:
        raise ConfigError(
            f"--batch-ramp {config.batch_ramp}: {ramp.rows} rows cannot be shared by "
            f"{degrees.shares} processes",
            hint=f"begin with a multiple of {degrees.shares} rows",
        )
    if ramp is not None:
        check_stage_rows(degrees, ramp.rows, f"a --batch-ramp from {degrees.pp * degrees.shares} rows on")
    return batch_rows


def check_positions(seq_len: int, positions: int, trained: int | None) -> None:
    """Refuse rows that are longer than a model's positions.

    Args:
        seq_len: the longest text of a row.
        positions: of the model.
        trained: those that its weights have learnt, which a factor is of; None: they are fresh.

    Raises:
        UsageError: they are longer.
    """
    if seq_len <= positions:
        return
    longer = f"--max-position-embeddings {seq_len}"
    if trained is not None:
        longer = f"--rope-scaling yarn:{-(-seq_len // trained)}"
    raise UsageError(
        f"rows of {seq_len} tokens, but the model has {positions} positions",
        hint=f"{longer}, or shorter rows: llmkit pack --seq-len {positions}",
    )


def _recipe(
    config: PretrainConfig,
    model: ModelConfig,
    data: PretrainData,
    initial_sha256: str | None,
    device: torch.device,
    *,
    steps: int,
    batch_rows: int,
) -> Recipe:
    """What decides what is learnt."""
    return Recipe(
        model=model.to_hf(),
        initial_sha256=initial_sha256,
        data_sha256=data.sha256,
        tokenizer_sha256=data.tokenizer_sha256,
        seed=config.seed,
        rows=len(data.rows),
        seq_len=data.seq_len,
        steps=steps,
        batch_rows=batch_rows,
        lr=config.lr if config.lr is not None else default_lr(config.mup_base_width or model.hidden_size),
        min_lr_ratio=config.min_lr_ratio,
        schedule=config.schedule,
        warmup_steps=resolve_warmup_steps(config, steps),
        decay_ratio=DECAY_RATIO if config.decay_ratio is None else config.decay_ratio,
        beta1=config.beta1,
        beta2=config.beta2,
        weight_decay=config.weight_decay,
        clip=config.clip,
        dtype="bfloat16" if config.fp8 else choose_dtype(config.dtype, device, model.hidden_size),
        document_mask=config.document_mask,
        optimizer=config.optimizer,
        momentum=MUON_MOMENTUM if config.momentum is None else config.momentum,
        batch_ramp=config.batch_ramp,
        z_loss=config.z_loss or None,
        mup_base_width=config.mup_base_width,
        fp8=config.fp8,
        **resolve_router(config, model.sparse),
    )
