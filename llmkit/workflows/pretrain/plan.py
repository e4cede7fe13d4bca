"""What a run will do and take, worked out before any of it: the recipe, memory, disk and time."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import torch

from llmkit.errors import ResourceError
from llmkit.estimate.adapters import is_layer_matrix
from llmkit.estimate.architecture_of import architecture_of
from llmkit.machine import free_bytes
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.train.budget import kept_checkpoints
from llmkit.train.config import PretrainConfig
from llmkit.train.hardware import Peak, available_memory_bytes, measure_peak
from llmkit.train.parallel.divided import divide_model
from llmkit.train.state import checkpoint_bytes
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.run.memory import RECOMPUTING_BYTES, RUNTIME_BYTES, activation_bytes
from llmkit.workflows.run.setup import Setup

_MEASURE_BELOW_SECONDS = 2.0
_ASSUMED_MFU = 0.4
_CALIBRATING = 9
"""Updates at most, of which the first does not count; three where they take long."""
_QUICK_SECONDS = 10.0


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
    optimizer: str
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
    tokens_per_second: float
    """At that pace, padding counted."""
    total_seconds: float
    time_source: str
    """`measured step`, or an assumed share of the peak."""
    resume_step: int = 0
    """The checkpoint this run goes on from; 0: it starts."""


def plan_run(
    setup: Setup,
    config: PretrainConfig,
    model: ModelConfig,
    data: PretrainData,
    out: Path,
    *,
    calibrate: bool = False,
) -> PretrainPlan:
    """Everything a person wants to know before a run; measures updates where that is quick, or asked for."""
    recipe = setup.recipe
    parameters = architecture_of(model).parameters
    with threads_set(setup.threads):
        peak = measure_peak(setup.device, recipe.dtype)
        step_seconds, source = time_step(
            setup, peak, lambda: _fresh_trainer(setup, config, model, data), calibrate=calibrate
        )
    size = _checkpoint_bytes(setup, model)
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
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        warmup_steps=recipe.warmup_steps,
        device=str(setup.device),
        dtype=recipe.dtype,
        threads=setup.threads,
        flops_per_token=setup.flops_per_token,
        total_flops=setup.flops_per_token * recipe.tokens,
        peak_flops_per_second=peak.flops_per_second,
        peak_source=peak.source,
        memory_bytes=run_memory_bytes(setup, config, model),
        memory_available_bytes=available_memory_bytes(setup.device),
        checkpoint_bytes=size,
        disk_bytes=size * (kept_checkpoints(config, recipe.steps) + 1),
        disk_free_bytes=free_bytes(out),
        step_seconds=step_seconds,
        tokens_per_second=recipe.batch_tokens / step_seconds,
        total_seconds=step_seconds * recipe.tokens / recipe.batch_tokens,
        time_source=source,
    )


def check_resources(setup: Setup, config: PretrainConfig, model: ModelConfig, out: Path) -> None:
    """Refuse a run that cannot end well.

    Raises:
        ResourceError: too little memory, or too little disk for the checkpoints.
    """
    needed = run_memory_bytes(setup, config, model)
    check_memory(setup, needed, "shorter rows, or a smaller --preset")
    check_disk(out, kept_checkpoints(config, setup.recipe.steps), _checkpoint_bytes(setup, model))


def check_memory(setup: Setup, needed: int, otherwise: str) -> None:
    """Refuse a run that takes more bytes of memory than there are; `otherwise` is what else takes less.

    Raises:
        ResourceError: it does.
    """
    available = available_memory_bytes(setup.device)
    if available is not None and needed > available:
        raise ResourceError(
            f"training takes about {needed:,} bytes of memory (found {available:,} available)",
            hint=f"--micro-batch-rows 1, {otherwise}",
        )


def check_disk(out: Path, checkpoints: int, size: int) -> None:
    """Refuse a run whose checkpoints of `size` bytes, and one being written, have no room.

    Raises:
        ResourceError: they have not.
    """
    disk, free = size * (checkpoints + 1), free_bytes(out)
    if disk > free:
        raise ResourceError(
            f"{out}: {checkpoints} checkpoints and one being written take about {disk:,} bytes "
            f"(found {free:,} free)",
            hint="free some space, or keep fewer with --keep 1",
        )


def run_memory_bytes(setup: Setup, config: PretrainConfig, model: ModelConfig) -> int:
    """`memory_bytes` of a run, with the copy that is written while it trains on, where that is the CPU's."""
    copied = config.async_checkpoint and setup.device.type == "cpu"
    copy = _checkpoint_bytes(setup, model) if copied else 0
    return memory_bytes(setup, config, model) + copy


def memory_bytes(setup: Setup, config: PretrainConfig, model: ModelConfig) -> int:
    """Predicted memory of the process: within 10 % for models of 1M to 40M parameters on a CPU.

    Weights and AdamW's moments take 12 bytes a parameter, gradients 4; they come while what the forward pass
    kept goes, but that is seldom given back. Muon has one moment of a matrix. Updates whose norms
    are logged hold the weights twice.
    """
    parameters = architecture_of(model).parameters
    kept = activation_bytes(
        model,
        setup.micro_batch_rows * setup.recipe.seq_len,
        setup.recipe.dtype,
        recomputing=config.activation_checkpointing,
    )
    recomputes = config.activation_checkpointing != "none"
    state = (16 + 4 * (config.log_norms > 0)) * parameters - 4 * _muon_values(setup, model)
    if setup.degrees.is_split:  # a model is drawn or read whole, then cut
        state = max(4 * parameters, -(-state // setup.degrees.parts))
    return RUNTIME_BYTES[setup.device.type] + RECOMPUTING_BYTES[setup.device.type] * recomputes + state + kept


def _checkpoint_bytes(setup: Setup, model: ModelConfig) -> int:
    return checkpoint_bytes(architecture_of(model).parameters) - 4 * _muon_values(setup, model)


def _muon_values(setup: Setup, model: ModelConfig) -> int:
    """Parameters with one moment, not two."""
    if setup.recipe.optimizer == "adamw":
        return 0
    return sum(one.numel for one in architecture_of(model).tensors if is_layer_matrix(one) and one.learnt)


def time_step(
    setup: Setup, peak: Peak, make: Callable[[], Trainer], *, calibrate: bool = False
) -> tuple[float, str]:
    """Seconds of one update: measured where one takes about two seconds at most, else by the peak.

    Args:
        setup: of the run.
        peak: of the machine.
        make: a trainer to measure with.
        calibrate: measure, however long that takes, and take the middle of some updates, not the best.
    """
    assumed, source = estimate_step(setup, peak)
    if assumed > _MEASURE_BELOW_SECONDS and not calibrate:
        return assumed, source
    trainer = make()
    seconds: list[float] = []
    while len(seconds) < 3 or (calibrate and len(seconds) < _CALIBRATING and sum(seconds) < _QUICK_SECONDS):
        begin = time.perf_counter()
        trainer.train_step()
        if setup.device.type == "cuda":
            torch.cuda.synchronize(setup.device)
        seconds.append(time.perf_counter() - begin)
    trainer.close()
    warm = seconds[1:]  # the first warms up
    if calibrate:
        return statistics.median(warm), f"median of {len(warm)} measured steps"
    return min(warm), "measured step"


def estimate_step(setup: Setup, peak: Peak) -> tuple[float, str]:
    """Seconds of one update by the peak."""
    assumed = setup.flops_per_token * setup.recipe.batch_tokens / peak.flops_per_second / _ASSUMED_MFU
    return assumed, f"estimated at {_ASSUMED_MFU:.0%} of the peak"


def _fresh_trainer(setup: Setup, config: PretrainConfig, model: ModelConfig, data: PretrainData) -> Trainer:
    fresh = Transformer(model)
    initialise(fresh, torch.Generator().manual_seed(0))
    return Trainer(
        divide_model(fresh.to(setup.device), config, setup.recipe),
        data.rows,
        setup.recipe,
        micro_batch_rows=setup.micro_batch_rows,
        on_nonfinite="skip",
    )


@contextmanager
def threads_set(count: int) -> Iterator[None]:
    """As many as the run will have: a peak of more would be no peak of its."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
