"""A model with its weights rounded: planned, rounded layer by layer, scored against the original, written."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from llmkit.errors import StoppedResumable
from llmkit.formats.gguf.split import file_paths
from llmkit.formats.resumable import forget_partial
from llmkit.progress import SILENT, Progress
from llmkit.quant.divergence import Divergence, QualityReport, scored_positions
from llmkit.quant.grid import Grid
from llmkit.quant.kept_matrix import KeptMatrix
from llmkit.quant.model import Quantiser, Rounded
from llmkit.quant.moments import Moments
from llmkit.quant.plain_numbers import plain_dtypes
from llmkit.quant.rounding import RoundedMatrix, Rounder, round_matrix
from llmkit.quant.workers import Workers
from llmkit.workflows.quantize.budget import within_budget
from llmkit.workflows.quantize.job import QuantizeJob
from llmkit.workflows.quantize.parts import KeptParts, parts_of
from llmkit.workflows.quantize.report import QuantizeReport, SweepRow, unit_rows
from llmkit.workflows.quantize.write import planned_gguf, write_rounded


def plan_quantize(job: QuantizeJob, *, progress: Progress = SILENT) -> QuantizeReport:
    """What `quantize` would write; weights are read only where a budget is to be spent.

    Raises:
        UsageError, DataError: see `within_budget`.
    """
    return _report(_planned(job, progress), {}, None, [], seconds=0.0, written=False)


def quantize(
    job: QuantizeJob, *, progress: Progress = SILENT, clock: Callable[[], float] = time.perf_counter
) -> QuantizeReport:
    """Round a model's weights, and write it unless a gate is missed.

    Args:
        job: see `open_quantize`.
        progress: hears of parameters rounded, then of bytes written.
        clock: in seconds.

    Returns:
        the report; not `written` where a gate was missed, or nothing was to be written.

    Raises:
        UsageError: a budget that cannot be kept.
        DataError: a weight is not finite, or the files are damaged.
        StoppedResumable: by Ctrl-C or SIGTERM, with what is done kept.
    """
    begun = clock()
    job = _planned(job, progress)
    with parts_of(job) as kept:
        try:
            done = round_model(job, progress, kept)
        except (KeyboardInterrupt, SystemExit):
            if kept is None:
                raise
            raise StoppedResumable(
                f"{job.out}: stopped; what is rounded is kept beside it",
                hint="run the same line again to go on",
            ) from None
        notes: list[str] = []
        written = job.out is not None and missed_gate(job, done.quality) is None
        if written:
            notes = write_rounded(job, done.matrices, done.plain, progress)
    if kept is not None and written:
        assert job.out is not None
        forget_partial(job.out)
    if done.alphas:
        scaled = sum(alpha > 0 for alpha in done.alphas.values())
        notes.append(f"scaled: {scaled} of {len(done.alphas)} sets of matrices with one input")
    return _report(job, done.matrices, done.quality, notes, seconds=clock() - begun, written=written)


def missed_gate(job: QuantizeJob, quality: QualityReport | None) -> str | None:
    """Which limit the result is beyond, as a sentence; None where it may be written."""
    if quality is None:
        return None
    kld, increase = job.config.max_kl, job.config.max_ppl_increase
    if kld is not None and quality.kld > kld:
        return f"KL divergence {quality.kld:.6f} ± {quality.kld_error:.6f}, more than --max-kl {kld:g}"
    if increase is not None and quality.ratio - 1 > increase:
        return (
            f"perplexity grew by {quality.ratio - 1:.4%} ± {quality.ratio_error:.4%}, "
            f"more than --max-ppl-increase {increase:g}"
        )
    return None


def sweep(jobs: Iterable[QuantizeJob], *, progress: Progress = SILENT) -> Iterator[SweepRow]:
    """Size and quality of each job, as each is done; nothing is written."""
    for job in jobs:
        report = quantize(replace(job, out=None), progress=progress)
        yield SweepRow(
            type=report.type,
            container=report.container,
            bits_per_weight=report.bits_per_weight,
            size_bytes=report.size_bytes,
            quality=report.quality,
            seconds=report.seconds,
        )


def _planned(job: QuantizeJob, progress: Progress) -> QuantizeJob:
    """The job with its budget spent."""
    if not job.config.budgeted:
        return job
    budget = within_budget(job, progress)
    notes = [budget.effort.told]
    notes += [f"{name}: more bits measured no better; levelled" for name in budget.repaired]
    return replace(job, plan=budget.plan, notes=(*job.notes, *notes))


class RoundedModel(NamedTuple):
    """What has become of a model."""

    matrices: dict[str, KeptMatrix]
    """Those of the plan, by name; of stacked experts by `name[e]`."""
    plain: dict[str, Tensor]
    """Other tensors that are not what they were."""
    alphas: dict[str, float]
    """See `Rounded.alphas`."""
    quality: QualityReport | None
    """How far the model has moved by it."""

    def take(self, part: Rounded) -> None:
        """Add a part."""
        self.matrices.update({name: KeptMatrix.of(one) for name, one in part.matrices.items()})
        self.plain.update(part.plain)
        self.alphas.update(part.alphas)


def round_model(
    job: QuantizeJob, progress: Progress, kept: KeptParts | None = None, rounder: Rounder | None = None
) -> RoundedModel:
    """Every matrix of the plan, rounded.

    Args:
        job: see `open_quantize`.
        progress: hears of parameters rounded.
        kept: the parts that are done, and where those of this run are kept.
        rounder: rounds a matrix; None: as the job has it.
    """
    feedback = job.config.method == "feedback"
    total = sum(unit.parameters for unit in job.plan.open_units)
    heard: dict[str, int] = {}  # numbers of each matrix: some are rounded in two ways, and counted once

    def hear(name: str, count: int) -> None:
        heard[name] = count
        progress.update(sum(heard.values()), total)

    with job.workers() as workers:

        def own(name: str, weight: Tensor, grid: Grid, moments: Moments | None) -> RoundedMatrix:
            matrix = round_matrix(weight, grid, moments, feedback=feedback, workers=workers)
            hear(name, weight.numel())
            return matrix

        progress.update(0, total)
        model = job.source.load()
        quantiser = Quantiser(
            model,
            job.plan.grids,
            calibration=job.calibration,
            scored=job.scored,
            rounder=rounder or own,
            workers=workers,
            known=(lambda part: None) if kept is None else kept.find,
            given=job.given,
            scale_dtype=job.scale_dtype,
            catches_up=feedback,
            dtypes=plain_dtypes(job.plan),
            orders=job.plan.orders,
        )
        done = RoundedModel({}, {}, {}, None)
        for part in quantiser.run():
            done.take(part)
            if kept is not None:
                kept.keep(part)
            for name in part.matrices:
                hear(name, part.matrices[name].codes.numel())
            del part  # its codes take more room than what is kept of them
        return done._replace(quality=_score(quantiser, model.logits, workers))


def _score(
    quantiser: Quantiser, logits: Callable[[Tensor], Tensor], workers: Workers
) -> QualityReport | None:
    """Logits of both models, some rows at a time, so that a large vocabulary takes little memory."""
    before, after, head = quantiser.reference, quantiser.rounded, quantiser.reference_head
    if before is None or after is None or head is None:
        return None

    def both(row: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        ids, states, moved = row
        place = scored_positions(len(ids))
        return head(states[place]), logits(moved[place]), ids[place.start + 1 : place.stop + 1]

    divergence = Divergence()
    for (ids, states), (_, moved) in zip(before.last(), after.last(), strict=True):
        for scores in workers.map(both, zip(ids, states, moved, strict=True)):
            divergence.add(*scores)
    return divergence.report()


def method_of(job: QuantizeJob) -> str:
    """How matrices are rounded in earnest: feedback needs more than an importance matrix tells."""
    method = job.config.method if job.calibration is not None else "nearest"
    return f"{method}, scaled" if job.config.scale else method


def _files(job: QuantizeJob) -> tuple[str | None, int]:
    """What is to be named of what is written, the first of several GGUF files; and the bytes of all."""
    limit = job.config.max_shard_bytes
    if job.out is None or job.container != "gguf" or limit is None:
        return None if job.out is None else str(job.out), job.plan.nbytes
    files = planned_gguf(job)
    return str(file_paths(job.out, len(files))[0]), sum(one.nbytes for one in files)


def _report(
    job: QuantizeJob,
    rounded: Mapping[str, KeptMatrix],
    quality: QualityReport | None,
    notes: Sequence[str],
    *,
    seconds: float,
    written: bool,
) -> QuantizeReport:
    plan, source = job.plan, job.source
    out, size = _files(job)
    return QuantizeReport(
        source=str(source.path),
        out=out,
        model_type=source.config.model_type,
        container=job.container,
        type=job.type,
        method=method_of(job),
        parameters=plan.parameters,
        bits_per_weight=plan.bits_per_weight,
        size_bytes=size,
        source_bytes=sum(file.stat().st_size for file in source.files),
        calibration_tokens=0 if job.calibration is None else job.calibration.numel(),
        imatrix=None if job.config.imatrix is None else str(job.config.imatrix),
        scored_tokens=0 if job.scored is None else job.scored.numel(),
        quality=quality,
        units=unit_rows(plan, rounded),
        notes=[*job.notes, *notes],
        seconds=seconds,
        written=written,
    )
