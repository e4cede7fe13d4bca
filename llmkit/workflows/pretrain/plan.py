"""What a run will do and take, worked out before any of it: the recipe, memory, disk and time."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import torch

from llmkit.errors import ResourceError
from llmkit.estimate.architecture_of import architecture_of
from llmkit.machine import cores, free_bytes
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.train.budget import kept_checkpoints
from llmkit.train.config import PretrainConfig
from llmkit.train.hardware import Peak, available_memory_bytes, measure_peak
from llmkit.train.parallel.divided import divide_model
from llmkit.train.parallel.ranks import ALONE, Ranks
from llmkit.train.parallel.traffic import Update, sent_bytes
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.pretrain.process_memory import checkpoint_file_bytes, run_memory
from llmkit.workflows.run.memory import RUNTIME_BYTES
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
    """Predicted, of the process that holds most: weights, gradients, optimiser state and activations."""
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
    processes: int = 1
    division: str = "one process"
    """How they share the work: `dp 2 x fsdp 2`."""
    all_memory_bytes: int | None = None
    """Of all processes on this machine, where they take it from the same memory; None: each has its own."""
    sent_bytes: dict[str, int] = {}
    """What a process sends the others in an update, by what it is; nothing where there is one."""


def plan_run(
    setup: Setup,
    config: PretrainConfig,
    model: ModelConfig,
    data: PretrainData,
    out: Path,
    *,
    calibrate: bool = False,
    ranks: Ranks = ALONE,
    processes_here: int = 1,
) -> PretrainPlan:
    """Everything a person wants to know before a run; measures updates where that is quick, or asked for.

    Args:
        setup: of the run.
        config: as asked for.
        model: its shape.
        data: to measure on.
        out: of the run.
        calibrate: measure, however long it takes.
        ranks: the processes of the run, where it is measured in all of them: each has to call this. One alone
            measures no run of several.
        processes_here: that will share this machine.
    """
    recipe, degrees = setup.recipe, setup.degrees
    parameters = architecture_of(model).parameters
    with threads_set(setup.threads):
        peak = measure_peak(setup.device, recipe.dtype)
        step_seconds, source = time_step(
            setup,
            peak_of_all(setup, peak, processes_here),
            lambda: _fresh_trainer(setup, config, model, data, ranks),
            calibrate=calibrate,
            ranks=ranks,
        )
    size, memory = checkpoint_file_bytes(setup, model), run_memory(setup, config, model)
    shared = degrees.world > 1 and setup.device.type == "cpu"
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
        memory_bytes=memory.first,
        memory_available_bytes=available_memory_bytes(setup.device),
        checkpoint_bytes=size,
        disk_bytes=size * (kept_checkpoints(config, recipe.steps) + 1),
        disk_free_bytes=free_bytes(out),
        step_seconds=step_seconds,
        tokens_per_second=recipe.batch_tokens / step_seconds,
        total_seconds=step_seconds * recipe.tokens / recipe.batch_tokens,
        time_source=source,
        processes=degrees.world,
        division=str(degrees),
        all_memory_bytes=memory.on(processes_here) if shared else None,
        sent_bytes=sent_bytes(model, degrees, _update(setup, config)),
    )


def check_resources(
    setup: Setup, config: PretrainConfig, model: ModelConfig, out: Path, *, processes_here: int = 1
) -> None:
    """Refuse a run that cannot end well.

    Raises:
        ResourceError: too little memory for the processes here, or too little disk for the checkpoints.
    """
    memory = run_memory(setup, config, model)
    needed = memory.first
    if setup.device.type == "cpu":  # the others are there, and so is what each has imported
        needed = memory.on(processes_here) - (processes_here - 1) * RUNTIME_BYTES["cpu"]
    check_memory(setup, needed, "shorter rows, or a smaller --preset")
    check_disk(out, kept_checkpoints(config, setup.recipe.steps), checkpoint_file_bytes(setup, model))


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


def time_step(
    setup: Setup,
    peak: Peak,
    make: Callable[[], Trainer],
    *,
    calibrate: bool = False,
    ranks: Ranks = ALONE,
) -> tuple[float, str]:
    """Seconds of one update: measured where one takes about two seconds at most, else by the peak.

    Args:
        setup: of the run.
        peak: of all its processes.
        make: a trainer to measure with.
        calibrate: measure, however long that takes, and take the middle of some updates, not the best.
        ranks: the processes that are there to measure with: those of the run, else it is not measured.
    """
    assumed, source = estimate_step(setup, peak)
    if not calibrate and (assumed > _MEASURE_BELOW_SECONDS or ranks.degrees != setup.degrees):
        return assumed, source
    trainer = make()
    seconds: list[float] = []
    goes_on = True
    while goes_on:
        begin = time.perf_counter()
        trainer.train_step()
        if setup.device.type == "cuda":
            torch.cuda.synchronize(setup.device)
        seconds.append(time.perf_counter() - begin)
        quick = calibrate and len(seconds) < _CALIBRATING and sum(seconds) < _QUICK_SECONDS
        goes_on = ranks.highest(len(seconds) < 3 or quick) == 1  # all of them, or none
    trainer.close()
    warm = seconds[1:]  # the first warms up
    if calibrate:
        return statistics.median(warm), f"median of {len(warm)} measured steps"
    return min(warm), "measured step"


def estimate_step(setup: Setup, peak: Peak) -> tuple[float, str]:
    """Seconds of one update by the peak."""
    assumed = setup.flops_per_token * setup.recipe.batch_tokens / peak.flops_per_second / _ASSUMED_MFU
    return assumed, f"estimated at {_ASSUMED_MFU:.0%} of the peak"


def _fresh_trainer(
    setup: Setup, config: PretrainConfig, model: ModelConfig, data: PretrainData, ranks: Ranks
) -> Trainer:
    fresh = Transformer(model)
    initialise(fresh, torch.Generator().manual_seed(0))
    if not ranks.degrees.is_split:
        fresh.to(setup.device)
    divided = divide_model(fresh, config, setup.recipe, ranks)
    divided.model.to(setup.device)
    return Trainer(
        divided,
        data.rows,
        setup.recipe,
        micro_batch_rows=setup.micro_batch_rows,
        on_nonfinite="skip",
    )


def peak_of_all(setup: Setup, peak: Peak, processes_here: int) -> Peak:
    """Of the processes of a run together, from that of one: on a CPU they share its cores."""
    processes = setup.degrees.world
    if processes == 1:
        return peak
    crowd = setup.threads * processes_here / cores() if setup.device.type == "cpu" else 1.0
    return Peak(peak.flops_per_second * processes / max(1.0, crowd), peak.source)


def _update(setup: Setup, config: PretrainConfig) -> Update:
    """An update as one process sees it."""
    recipe = setup.recipe
    half = recipe.dtype == "bfloat16"
    return Update(
        rows=recipe.batch_rows // setup.degrees.shares,
        pass_rows=setup.micro_batch_rows,
        seq_len=recipe.seq_len // setup.degrees.cp,
        product_bytes=2 if half else 4,
        stream_bytes=2 if half and setup.device.type != "cpu" else 4,
        recomputes=config.activation_checkpointing == "full",
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
