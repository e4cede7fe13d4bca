"""What a run will do and take, worked out before any of it: the recipe, memory, disk and time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from llmkit.errors import ResourceError, UsageError
from llmkit.estimate.architecture_flops import train_flops_per_token
from llmkit.estimate.architecture_of import architecture_of
from llmkit.machine import free_bytes
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.train.config import (
    PretrainConfig,
    Recipe,
    default_lr,
    resolve_batch_rows,
    resolve_micro_batch_rows,
    resolve_router,
    resolve_steps,
    resolve_warmup_steps,
)
from llmkit.train.hardware import (
    Peak,
    available_memory_bytes,
    choose_device,
    choose_dtype,
    choose_threads,
    measure_peak,
)
from llmkit.train.state import checkpoint_bytes
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain_data import PretrainData

_MEASURE_BELOW_SECONDS = 2.0
_ASSUMED_MFU = 0.4
_EXPERT_STREAM = 2
"""Rows of hidden_size that are kept for each expert of a token: what goes in and what comes out."""
_RUNTIME_BYTES = {"cpu": 300 << 20, "cuda": 0}
"""Python and PyTorch themselves, where their memory is the model's."""


@dataclass(frozen=True)
class Setup:
    """The recipe of a run, and how this machine carries it out."""

    recipe: Recipe
    device: torch.device
    threads: int
    micro_batch_rows: int
    eval_batch_rows: int
    eval_every: int
    checkpoint_every: int
    flops_per_token: float


class PretrainPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The report of `--dry-run`."""

    schema: str = "llmkit.pretrain-plan/1"
    out: str
    parameters: int
    rows: int
    seq_len: int
    steps: int
    epochs: float
    batch_rows: int
    micro_batch_rows: int
    batch_tokens: int
    total_tokens: int
    lr: float
    schedule: str
    warmup_steps: int
    device: str
    dtype: str
    threads: int
    flops_per_token: float
    total_flops: float
    peak_flops_per_second: float
    peak_source: str
    memory_bytes: int
    """Predicted: weights, gradients, optimiser state and activations."""
    memory_available_bytes: int | None
    checkpoint_bytes: int
    disk_bytes: int
    """All checkpoints that are kept, and the one being written."""
    disk_free_bytes: int
    step_seconds: float
    total_seconds: float
    time_source: str
    """`measured step`, or an assumed share of the peak."""
    resume_step: int = 0
    """The checkpoint this run goes on from; 0: it starts."""


def set_up(
    config: PretrainConfig, model: ModelConfig, data: PretrainData, initial_sha256: str | None
) -> Setup:
    """Resolve every setting that was left open.

    Raises:
        ConfigError: settings that cannot be met.
        MissingError: the device is not there.
        UsageError: rows longer than the model's positions.
    """
    seq_len, rows = data.seq_len, len(data.rows)
    if seq_len > model.max_position_embeddings:
        raise UsageError(
            f"rows of {seq_len} tokens, but the model has {model.max_position_embeddings} positions",
            hint=f"--max-position-embeddings {seq_len}, or shorter rows: "
            f"llmkit pack --seq-len {model.max_position_embeddings}",
        )
    device = choose_device(config.device)
    batch_rows = resolve_batch_rows(config, seq_len)
    micro = resolve_micro_batch_rows(config, batch_rows=batch_rows, seq_len=seq_len, device_type=device.type)
    steps = resolve_steps(config, rows=rows, seq_len=seq_len, batch_rows=batch_rows)
    flops = train_flops_per_token(architecture_of(model), seq_len)
    recipe = Recipe(
        model=model.to_hf(),
        initial_sha256=initial_sha256,
        data_sha256=data.sha256,
        tokenizer_sha256=data.tokenizer_sha256,
        seed=config.seed,
        rows=rows,
        seq_len=seq_len,
        steps=steps,
        batch_rows=batch_rows,
        lr=config.lr if config.lr is not None else default_lr(model.hidden_size),
        min_lr_ratio=config.min_lr_ratio,
        schedule=config.schedule,
        warmup_steps=resolve_warmup_steps(config, steps),
        decay_ratio=config.decay_ratio,
        beta1=config.beta1,
        beta2=config.beta2,
        weight_decay=config.weight_decay,
        clip=config.clip,
        dtype=choose_dtype(config.dtype, device, model.hidden_size),
        document_mask=config.document_mask,
        **resolve_router(config, model.experts),
    )
    return Setup(
        recipe=recipe,
        device=device,
        threads=choose_threads(config.threads, torch.get_num_threads(), flops * micro * seq_len),
        micro_batch_rows=micro,
        eval_batch_rows=max(micro, 8192 // seq_len),
        eval_every=config.eval_every or max(1, -(-steps // 10)),
        checkpoint_every=config.checkpoint_every or max(1, -(-steps // 10)),
        flops_per_token=flops,
    )


def plan_run(
    setup: Setup, config: PretrainConfig, model: ModelConfig, data: PretrainData, out: Path
) -> PretrainPlan:
    """Everything a person wants to know before a run; measures one update where that is quick."""
    recipe = setup.recipe
    parameters = architecture_of(model).parameters
    with _threads(setup.threads):
        peak = measure_peak(setup.device, recipe.dtype)
        step_seconds, source = _step_seconds(setup, model, data, peak)
    size = checkpoint_bytes(parameters)
    return PretrainPlan(
        out=str(out),
        parameters=parameters,
        rows=recipe.rows,
        seq_len=recipe.seq_len,
        steps=recipe.steps,
        epochs=round(recipe.epochs, 4),
        batch_rows=recipe.batch_rows,
        micro_batch_rows=setup.micro_batch_rows,
        batch_tokens=recipe.batch_tokens,
        total_tokens=recipe.tokens,
        lr=recipe.lr,
        schedule=recipe.schedule,
        warmup_steps=recipe.warmup_steps,
        device=str(setup.device),
        dtype=recipe.dtype,
        threads=setup.threads,
        flops_per_token=setup.flops_per_token,
        total_flops=setup.flops_per_token * recipe.tokens,
        peak_flops_per_second=peak.flops_per_second,
        peak_source=peak.source,
        memory_bytes=memory_bytes(setup, model),
        memory_available_bytes=available_memory_bytes(setup.device),
        checkpoint_bytes=size,
        disk_bytes=size * (config.keep + 1),
        disk_free_bytes=free_bytes(out),
        step_seconds=step_seconds,
        total_seconds=step_seconds * recipe.steps,
        time_source=source,
    )


def check_resources(setup: Setup, config: PretrainConfig, model: ModelConfig, out: Path) -> None:
    """Refuse a run that cannot end well.

    Raises:
        ResourceError: too little memory, or too little disk for the checkpoints.
    """
    needed, available = memory_bytes(setup, model), available_memory_bytes(setup.device)
    if available is not None and needed > available:
        raise ResourceError(
            f"training takes about {needed:,} bytes of memory (found {available:,} available)",
            hint="--micro-batch-rows 1, shorter rows, or a smaller --preset",
        )
    disk, free = checkpoint_bytes(architecture_of(model).parameters) * (config.keep + 1), free_bytes(out)
    if disk > free:
        raise ResourceError(
            f"{out}: {config.keep} checkpoints and one being written take about {disk:,} bytes "
            f"(found {free:,} free)",
            hint="free some space, or keep fewer with --keep 1",
        )


def memory_bytes(setup: Setup, model: ModelConfig) -> int:
    """Predicted memory of the process: within 10 % for models of 1M to 100M parameters on a CPU.

    Weights and AdamW's moments take 12 bytes a parameter, gradients 4; but gradients come while what the
    forward pass kept goes, so the larger of the two counts. What it keeps for each token, in values: in a
    layer 20 D with RMSNorm (which PyTorch makes of many operations) or 8 D with LayerNorm, keys and values,
    and 4 F or 3 F of the MLP; at the end 3 V for logits, probabilities and their gradient. D, F and V are
    hidden_size, intermediate_size and vocab_size; the factors are measured. With experts, F is that of all
    that a token uses, and their inputs and outputs are kept k times beside.
    """
    tokens = setup.micro_batch_rows * setup.recipe.seq_len
    parameters = architecture_of(model).parameters
    width = 2 if setup.recipe.dtype == "bfloat16" else 4
    stream = (20 if model.norm == "rms" else 8) * model.hidden_size
    kv = 2 * model.num_key_value_heads * model.head_dim
    layers = model.num_hidden_layers * (stream + kv) + _mlp_values(model)
    kept = tokens * (layers * width + 3 * 4 * model.vocab_size)
    return _RUNTIME_BYTES[setup.device.type] + 12 * parameters + max(4 * parameters, kept)


def _mlp_values(model: ModelConfig) -> int:
    """What the MLPs of all layers keep for each token."""
    dense, experts = (4 if model.gated_mlp else 3) * model.intermediate_size, model.experts
    if experts is None:
        return model.num_hidden_layers * dense
    k = experts.num_experts_per_tok
    inside = k * experts.intermediate_size + experts.shared_intermediate_size
    sparse = 4 * inside + _EXPERT_STREAM * k * model.hidden_size
    return (model.num_hidden_layers - len(experts.layers)) * dense + len(experts.layers) * sparse


def _step_seconds(setup: Setup, model: ModelConfig, data: PretrainData, peak: Peak) -> tuple[float, str]:
    """Seconds of one update: measured where one takes about two seconds at most, else by the peak."""
    assumed = setup.flops_per_token * setup.recipe.batch_tokens / peak.flops_per_second / _ASSUMED_MFU
    if assumed > _MEASURE_BELOW_SECONDS:
        return assumed, f"estimated at {_ASSUMED_MFU:.0%} of the peak"
    fresh = Transformer(model)
    initialise(fresh, torch.Generator().manual_seed(0))
    trainer = Trainer(
        fresh.to(setup.device),
        data.rows,
        setup.recipe,
        micro_batch_rows=setup.micro_batch_rows,
        on_nonfinite="skip",
    )
    seconds = []
    for _ in range(3):  # the first warms up
        begin = time.perf_counter()
        trainer.train_step()
        seconds.append(time.perf_counter() - begin)
    trainer.close()
    return min(seconds), "measured step"


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """As many as the run will have: a peak of more would be no peak of its."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
