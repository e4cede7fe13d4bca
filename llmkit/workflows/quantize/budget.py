"""How much each part of a model matters, and the grids that lose least at a given size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from llmkit.errors import UsageError
from llmkit.progress import Progress
from llmkit.quant.budget import Choice, allot
from llmkit.quant.grid import Grid
from llmkit.quant.kv_forms import kv_forms_for
from llmkit.quant.kv_noise import KVNoise, kv_noise
from llmkit.quant.plan import PlanUnit, QuantPlan
from llmkit.quant.sensitivity import Sensitivity, Work, sensitivities
from llmkit.workflows.quantize.container import grid_of, measured
from llmkit.workflows.quantize.job import QuantizeJob

_TRIED = {
    "gguf": ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0"),
    "compressed-tensors": ("int3-g32", "int4-g128", "int4-g32", "int5-g32", "int6-g32", "int8-g128"),
    "gptq": ("int2-g32", "int3-g32", "int4-g128", "int4-g32", "int8-g128"),
    "mlx": ("mlx-2bit-g32", "mlx-3bit-g32", "mlx-4bit-g32", "mlx-5bit-g32", "mlx-6bit-g32", "mlx-8bit-g64"),
}
"""Grids that a budget chooses from."""
_NARROW = ("IQ4_NL", "Q5_0", "Q8_0")
"""In GGUF files, for rows that are no whole number of superblocks."""
_TOKENS = 2048
"""Scored in each trial: the error of a mean over a thousand positions is a few percent."""


MOST_MULTIPLICATIONS = 2e14
"""Of all trials: see `trial_effort`."""


@dataclass(frozen=True)
class Effort:
    """How much of a model is tried before grids are chosen."""

    every_grid: bool
    rows: int
    """Of scored text."""
    tokens: int

    @property
    def told(self) -> str:
        """A sentence for reports."""
        if self.every_grid:
            return f"each part tried on each type over {self.tokens:,} tokens"
        return (
            f"each part tried on its middle type over {self.tokens:,} tokens; the others told from the noise "
            "they add"
        )


@dataclass(frozen=True)
class Budget:
    """What a budget has bought."""

    plan: QuantPlan
    repaired: tuple[str, ...]
    """Units that a trial found worse with more bits: told, and levelled."""
    effort: Effort
    """How it was found."""


def sensitivity_rows(job: QuantizeJob, progress: Progress) -> Iterator[Sensitivity]:
    """The KL divergence that rounding each unit alone causes, grid by grid.

    Raises:
        UsageError: there is no text to score, or the container has one grid for all.
        DataError: see `sensitivities`.
    """
    yield from _tried(job, _work(job), progress)


def _tried(job: QuantizeJob, work: Work, progress: Progress) -> Iterator[Sensitivity]:
    effort = trial_effort(job, work)
    progress.note(effort.told)
    scored = _scored(job)[: effort.rows]
    seen = None if job.calibration is None else job.calibration[: 4 * effort.rows]
    with job.workers() as workers:
        yield from sensitivities(
            job.source.load(),
            [(unit, grids) for unit, grids in work if grids],
            scored,
            calibration=seen,
            every_grid=effort.every_grid,
            workers=workers,
            progress=progress,
        )


def trial_effort(job: QuantizeJob, work: Work) -> Effort:
    """How much is tried: a matter of the model and the text alone, so that all machines choose alike.

    Each unit on each grid over 2048 tokens, where that takes no more than 2e14 multiplications: about an hour
    on two cores. Else each on its middle grid only; and over half the tokens, and half again, while it takes
    more.
    """
    scored = _scored(job)
    layers = [0] * job.source.config.num_hidden_layers
    outside = 0
    for unit in job.plan.units:
        if unit.layer is None:
            outside += unit.parameters if unit.kind in ("lm_head", "embed_tokens") else 0
        else:
            layers[unit.layer] += unit.parameters
    behind = [sum(layers[number:]) for number in range(len(layers))]  # as if every expert were used

    def multiplications(rows: int, every_grid: bool) -> float:
        passes = sum(
            (len(grids) if every_grid else min(1, len(grids))) * (outside + behind[unit.layer or 0])
            for unit, grids in work
        )
        return float(passes * rows * scored.shape[1])

    rows = min(len(scored), max(1, _TOKENS // scored.shape[1]))
    every_grid = multiplications(rows, True) <= MOST_MULTIPLICATIONS
    while not every_grid and rows > 1 and multiplications(rows, False) > MOST_MULTIPLICATIONS:
        rows //= 2
    return Effort(every_grid, rows, rows * scored.shape[1])


def kv_rows(job: QuantizeJob, forms: Sequence[str], progress: Progress) -> Iterator[KVNoise]:
    """What keeping keys and values in fewer bits costs, each alone, layer by layer, and all together.

    Forms in which the model's cache cannot be kept are left out.

    Raises:
        UsageError: there is no text to score.
        ConfigError, DataError: see `kv_forms_for` and `kv_noise`.
    """
    tried = kv_forms_for(job.source.config, forms)
    scored = _scored(job)
    rows = max(1, _TOKENS // scored.shape[1])
    with job.workers() as workers:
        yield from kv_noise(job.source.load(), scored[:rows], tried, workers=workers, progress=progress)


def within_budget(job: QuantizeJob, progress: Progress) -> Budget:
    """The plan whose grids lose least at the size that was asked for.

    Raises:
        UsageError: even the smallest grids are larger, or see `sensitivity_rows`.
    """
    plan, work = job.plan, _work(job)
    spare = _spare(job, plan.smallest(work))
    losses: dict[str, dict[str, float]] = {}
    for row in _tried(job, work, progress):
        losses.setdefault(row.name, {})[row.grid] = row.kld
    grids = {unit.name: {grid.name: grid for grid in found} for unit, found in work}
    choices: dict[str, list[Choice]] = {}
    for unit, found in work:
        by_grid = {grid: losses[unit.name][grid.name] for grid in found}
        choices[unit.name] = plan.choices(unit, by_grid)
    bought = allot(choices, spare)
    wanted = {name: grids[name][choice.grid] for name, choice in bought.chosen.items()}
    told = plan.with_grids(wanted, "within the budget")
    plan = measured(job.source, job.container, told, job.config.max_shard_bytes)
    return Budget(plan, bought.repaired, trial_effort(job, work))


def _spare(job: QuantizeJob, smallest: QuantPlan) -> int:
    """Bytes for the grids that are chosen.

    Raises:
        UsageError: the smallest take more. That is a matter of shapes, and told before anything is tried.
    """
    config = job.config
    least = smallest.nbytes - smallest.fixed_nbytes
    if config.fit_bytes is not None:
        spare = job.plan.spare_for_file(config.fit_bytes)
        taken, asked = f"{smallest.nbytes:,} bytes", f"{config.fit_bytes:,}"
        hint = f"--fit {smallest.nbytes} or more"
    else:
        assert config.budget_bpw is not None
        spare = job.plan.spare_for_bits(config.budget_bpw)
        hundredths = 800 * (smallest.nbytes - smallest.rest_nbytes) // smallest.parameters + 1  # rounded up
        taken, asked = f"{hundredths / 100} bits a weight", f"{config.budget_bpw:g}"
        hint = f"--budget-bpw {hundredths / 100} or more"
    if spare < least:
        raise UsageError(
            f"{job.source.path}: takes {taken} with the smallest grids (asked {asked})", hint=hint
        )
    return spare


def _scored(job: QuantizeJob) -> Tensor:
    scored = job.calibration if job.scored is None else job.scored
    if scored is None:
        raise UsageError("what rounding costs is measured over text", hint="add --calibration FILE")
    return scored


def _work(job: QuantizeJob) -> list[tuple[PlanUnit, list[Grid]]]:
    """Units of the plan, each with the grids to try."""
    if job.container not in _TRIED:
        raise UsageError(
            f"{job.container} files have one grid for all matrices: there is nothing to choose",
            hint="--format compressed-tensors, gptq, mlx, or a GGUF file",
        )
    tried = [grid_of(job.source, job.container, name) for name in _TRIED[job.container]]
    narrow = [grid_of(job.source, job.container, name) for name in _NARROW] if job.container == "gguf" else []
    if not job.plan.open_units:
        raise UsageError(
            f"{job.type}: no matrix is on a grid, and there is nothing to choose",
            hint="leave --type out: a budget chooses the types",
        )
    work = []
    for unit in job.plan.open_units:
        grids = job.plan.grids_for(unit, tried)
        if len(grids) < 2:
            grids = job.plan.grids_for(unit, narrow) or grids
        work.append((unit, grids))
    return work
