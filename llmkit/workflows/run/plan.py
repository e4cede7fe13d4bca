"""What a run of any kind will take, worked out before it: fields that all plans have, and what is refused."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch

from llmkit.errors import ResourceError
from llmkit.estimate.architecture_of import architecture_of
from llmkit.formats.checkpoint import list_checkpoints
from llmkit.machine import cores, free_bytes
from llmkit.model.config import ModelConfig
from llmkit.train.config import PretrainConfig
from llmkit.train.freed_memory import freed_memory_kept
from llmkit.train.hardware import Peak, available_memory_bytes
from llmkit.train.parallel.ranks import ALONE, Ranks
from llmkit.train.parallel.traffic import Update, sent_bytes
from llmkit.train.trainer import Trainer
from llmkit.workflows.run.evaluations import Evaluations
from llmkit.workflows.run.memory import RUNTIME_BYTES, RunMemory
from llmkit.workflows.run.setup import Setup

_MEASURE_BELOW_SECONDS = 2.0
_ASSUMED_MFU = 0.4
_CALIBRATING = 9
"""Updates at most, of which the first does not count; three where they take long."""
_QUICK_SECONDS = 10.0


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the report of `--dry-run` says of every run."""

    schema: str
    out: str
    parameters: int
    rows: int
    seq_len: int
    steps: int
    epochs: float
    batch_rows: int
    micro_batch_rows: int
    lr: float
    schedule: str
    warmup_steps: int
    device: str
    dtype: str
    threads: int
    memory_bytes: int
    """Predicted, of the first process: weights, gradients, optimiser state and activations."""
    memory_available_bytes: int | None
    checkpoint_bytes: int
    disk_bytes: int
    """All checkpoints that are kept, and the one being written."""
    disk_free_bytes: int
    step_seconds: float
    total_seconds: float
    """Of updates and evaluations, not of samples and checkpoints."""
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
    evaluations: int = 0
    """Of the whole run; 0 without validation data, and of rewards: no plan knows how long their texts are."""
    evaluation_rows: int = 0
    """That each scores."""
    evaluation_seconds: float = 0.0
    """Of all evaluations, a part of `total_seconds`: forward passes at the pace of `step_seconds`."""


Plan = TypeVar("Plan", bound=RunPlan)


@dataclass(frozen=True)
class Needs:
    """What a run takes of the machine."""

    memory: RunMemory
    checkpoint: int
    """Bytes of one."""
    checkpoints: int
    """That are kept."""

    @property
    def disk(self) -> int:
        """Of those that are kept, and the one being written."""
        return self.checkpoint * (self.checkpoints + 1)


def build_plan(
    sort: type[Plan],
    setup: Setup,
    model: ModelConfig,
    out: Path,
    needs: Needs,
    *,
    step: tuple[float, str],
    sent: dict[str, int],
    processes_here: int,
    evaluations: Evaluations,
    **own: Any,
) -> Plan:
    """A plan with the fields that all have.

    Args:
        sort: of plan.
        setup: of the run.
        model: its shape.
        out: of the run.
        needs: what it takes.
        step: seconds of an update, and where they come from.
        sent: see `RunPlan.sent_bytes`.
        processes_here: that will share this machine.
        evaluations: of the run.
        own: the other fields.
    """
    recipe, degrees = setup.recipe, setup.degrees
    shared = degrees.world > 1 and setup.device.type == "cpu"
    seconds, source = step
    return sort(
        out=str(out),
        parameters=architecture_of(model).parameters,
        rows=recipe.rows,
        seq_len=recipe.seq_len,
        steps=recipe.steps,
        epochs=round(recipe.epochs, 4),
        batch_rows=recipe.batch_rows,
        micro_batch_rows=setup.micro_batch_rows,
        lr=recipe.lr,
        schedule=recipe.schedule,
        warmup_steps=recipe.warmup_steps,
        device=str(setup.device),
        dtype=recipe.dtype,
        threads=setup.threads,
        memory_bytes=needs.memory.first,
        memory_available_bytes=available_memory_bytes(setup.device),
        checkpoint_bytes=needs.checkpoint,
        disk_bytes=needs.disk,
        disk_free_bytes=free_bytes(out),
        step_seconds=seconds,
        total_seconds=seconds * recipe.tokens / recipe.batch_tokens + evaluations.seconds,
        evaluations=evaluations.count,
        evaluation_rows=evaluations.rows,
        evaluation_seconds=evaluations.seconds,
        time_source=source,
        processes=degrees.world,
        division=str(degrees),
        all_memory_bytes=needs.memory.on(processes_here) if shared else None,
        sent_bytes=sent,
        **own,
    )


def check_needs(setup: Setup, needs: Needs, out: Path, otherwise: str, *, processes_here: int = 1) -> None:
    """Refuse a run that cannot end well; `otherwise` is what else takes less memory.

    Raises:
        ResourceError: too little memory for the processes here, or too little disk for the checkpoints.
    """
    needed = needs.memory.first
    if setup.device.type == "cpu":  # the others are there, and so is what each has imported
        needed = needs.memory.on(processes_here) - (processes_here - 1) * RUNTIME_BYTES["cpu"]
    check_memory(setup, needed, otherwise)
    free, there = free_bytes(out), min(_checkpoints_bytes(out), needs.checkpoint * needs.checkpoints)
    if needs.disk - there > free:
        held = f"{there:,} of them there, and " if there else ""
        raise ResourceError(
            f"{out}: {needs.checkpoints} checkpoints and one being written take about {needs.disk:,} bytes "
            f"(found {held}{free:,} free)",
            hint="free some space, or keep fewer with --keep 1",
        )


def _checkpoints_bytes(out: Path) -> int:
    """What a run's checkpoints take already; each goes before another would take its place."""
    return sum(
        file.stat().st_size
        for folder in list_checkpoints(out)[0]
        for file in folder.rglob("*")
        if file.is_file()
    )


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


def time_step(
    setup: Setup,
    peak: Peak,
    make: Callable[[], Trainer],
    *,
    calibrate: bool = False,
    saves: bool = False,
    ranks: Ranks = ALONE,
) -> tuple[float, str]:
    """Seconds of one update: measured where one takes about two seconds at most, else by the peak.

    Args:
        setup: of the run.
        peak: of all its processes.
        make: a trainer to measure with.
        calibrate: measure, however long that takes, and take the middle of some updates, not the best.
        saves: memory is saved, as in a run whose layers compute again.
        ranks: the processes that are there to measure with: those of the run, else it is not measured.
    """
    assumed, source = estimate_step(setup, peak)
    if not calibrate and (assumed > _MEASURE_BELOW_SECONDS or ranks.degrees != setup.degrees):
        return assumed, source
    with freed_memory_kept(small_only=saves):
        seconds = _step_seconds(setup, make(), ranks, calibrate=calibrate)
    warm = seconds[1:]  # the first warms up
    if calibrate:
        return statistics.median(warm), f"median of {len(warm)} measured steps"
    return min(warm), "measured step"


def _step_seconds(setup: Setup, trainer: Trainer, ranks: Ranks, *, calibrate: bool) -> list[float]:
    """Of some updates, one after the other."""
    seconds: list[float] = []
    goes_on = True
    try:
        while goes_on:
            begin = time.perf_counter()
            trainer.train_step()
            if setup.device.type == "cuda":
                torch.cuda.synchronize(setup.device)
            seconds.append(time.perf_counter() - begin)
            quick = calibrate and len(seconds) < _CALIBRATING and sum(seconds) < _QUICK_SECONDS
            goes_on = ranks.highest(len(seconds) < 3 or quick) == 1  # all of them, or none
    finally:
        trainer.close()
    return seconds


def estimate_step(setup: Setup, peak: Peak) -> tuple[float, str]:
    """Seconds of one update by the peak."""
    assumed = setup.flops_per_token * setup.recipe.batch_tokens / peak.flops_per_second / _ASSUMED_MFU
    return assumed, f"estimated at {_ASSUMED_MFU:.0%} of the peak"


def peak_of_all(setup: Setup, peak: Peak, processes_here: int) -> Peak:
    """Of the processes of a run together, from that of one: on a CPU they share its cores."""
    processes = setup.degrees.world
    if processes == 1:
        return peak
    crowd = setup.threads * processes_here / cores() if setup.device.type == "cpu" else 1.0
    return Peak(peak.flops_per_second * processes / max(1.0, crowd), peak.source)


def sent_in_update(setup: Setup, config: PretrainConfig, model: ModelConfig) -> dict[str, int]:
    """See `RunPlan.sent_bytes`."""
    return sent_bytes(model, setup.degrees, _update(setup, config))


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
