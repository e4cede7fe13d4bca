"""A LoRA adapter out of two models: the difference of each matrix, as well as a low rank can hold it.

Matrices that files keep as one (GPT-2's c_attn, phi3's qkv_proj) are one for PEFT too, and share the factor
of their inputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from llmkit.errors import DataError
from llmkit.formats.atomic import atomic_folder, refuse_existing
from llmkit.formats.digest import digest_file
from llmkit.formats.output_place import refuse_special
from llmkit.formats.provenance import Invocation, write_provenance
from llmkit.model.adapters.load import load_adapter
from llmkit.model.adapters.save import write_adapter
from llmkit.model.adapters.weights import AdapterWeights, LowRank
from llmkit.model.algebra.low_rank import Factors, factorise
from llmkit.model.dtypes import DTYPES
from llmkit.model.load import load_model
from llmkit.model.names import Group, groups
from llmkit.progress import SILENT, Progress
from llmkit.quant.workers import Workers
from llmkit.workflows.convert.check import CheckReport, NotAlikeError, compare_logits
from llmkit.workflows.merge.adapters import Adapters, OpenAdapter
from llmkit.workflows.merge.check import with_adapters
from llmkit.workflows.merge.merge import PACKAGES
from llmkit.workflows.merge.options import MergeConfig
from llmkit.workflows.merge.report import MatrixRow, MergeReport, ModelRow, TensorRow
from llmkit.workflows.merge.source import MergeSource, check_alike, open_merge_source
from llmkit.workflows.run.launch import threads_of

_WEIGHT = ".weight"
_EMBEDDINGS = "model.embed_"


@dataclass(frozen=True)
class ExtractJob:
    """An extraction decided; no weight is read yet."""

    config: MergeConfig
    out: Path
    invocation: Invocation
    base: MergeSource
    tuned: MergeSource
    notes: tuple[str, ...]

    @property
    def threads(self) -> int:
        """Matrices that are factorised at once; their number decides no bit."""
        return self.config.threads or threads_of(1)

    @property
    def dtype(self) -> torch.dtype:
        """Of the adapter."""
        return DTYPES[self.config.dtype or "float32"]

    @property
    def groups(self) -> list[Group]:
        """Tensors that files keep together."""
        return groups(self.base.weights.config, self.base.weights.shapes)

    def adapts(self, group: Group) -> bool:
        """Whether an adapter can have it: a matrix that is multiplied with, and no stack of them."""
        name = group.ours[0]
        plain = name.endswith(_WEIGHT) and not name.startswith(_EMBEDDINGS)
        return plain and len(self.base.weights.shapes[name]) == 2

    def most_rank(self, group: Group) -> int:
        """The rank that a matrix can get."""
        rows = sum(self.base.weights.shapes[name][0] for name in group.ours)
        full = min(rows, self.base.weights.shapes[group.ours[0]][1])
        return full if self.config.rank is None else min(full, self.config.rank)


@dataclass(frozen=True)
class _Found:
    """What one group's difference came to: factors of a matrix, or the names that no adapter holds."""

    group: Group
    factors: Factors | None
    differs: tuple[str, ...]


def open_extract(config: MergeConfig, out: Path, *, force: bool, invocation: Invocation) -> ExtractJob:
    """Open both models, and find them to have one shape.

    Raises:
        UsageError: the output exists.
        MissingError, ConfigError, DataError: see `open_merge_source` and `check_alike`.
    """
    base_path, tuned_path = (Path(one) for one in config.models)
    refuse_existing(out, force=force, inputs=[base_path, tuned_path])
    refuse_special(out)
    base = open_merge_source("base", base_path)
    tuned = open_merge_source("tuned", tuned_path)
    return ExtractJob(config, out, invocation, base, tuned, tuple(check_alike(base, [tuned])))


def plan_extract(job: ExtractJob) -> MergeReport:
    """What `extract` would write at most; no weight is read."""
    rows = []
    for group in job.groups:
        if job.adapts(group):
            rank, shapes = job.most_rank(group), job.base.weights.shapes
            rows += [
                _row(job, group.ours[0] + " A", (rank, shapes[group.ours[0]][1])),
                *(_row(job, f"{name} B", (shapes[name][0], rank)) for name in group.ours),
            ]
    notes = list(job.notes)
    if job.config.energy is not None:
        notes.append("--energy may need less than this: ranks are known when the weights are read")
    return _report(job, rows=rows, size=sum(one.size_bytes for one in rows), notes=notes)


def extract(job: ExtractJob, *, progress: Progress = SILENT) -> MergeReport:
    """Write the adapter, whole or not at all.

    Returns:
        the report, with the share of each difference that is kept; not `written` where the check failed.

    Raises:
        DataError: a file is damaged, or no matrix differs.
    """
    found = _differences(job, progress)
    weights = _adapter(job, found)
    if not weights.modules:
        raise DataError(
            f"{job.tuned.path}: no matrix differs from {job.base.path}",
            hint=f"llmkit diff {job.base.path} {job.tuned.path}",
        )
    rows = _matrix_rows(found)
    total = sum(one.norm**2 for one in rows)
    report = msgspec.structs.replace(
        _report(job, rows=[], size=weights.nbytes, notes=list(job.notes)),
        matrices=rows,
        explained=sum(one.explained * one.norm**2 for one in rows) / total,
        left_out=[name for one in found for name in one.differs],
        changed=len(rows),
    )
    try:
        with atomic_folder(job.out) as folder:
            write_adapter(folder, weights, job.base.weights.config, job.base.path.resolve().name)
            _provenance(job, folder)
            check = _checked(job, folder) if job.config.check else None
    except NotAlikeError as failed:
        return msgspec.structs.replace(report, check=failed.report)
    return msgspec.structs.replace(report, check=check, written=True)


def _differences(job: ExtractJob, progress: Progress) -> list[_Found]:
    """Group by group, as many at once as there are threads."""
    found: list[_Found] = []
    every = job.groups
    with Workers(job.threads) as workers:
        for begin in range(0, len(every), job.threads):
            found += workers.map(lambda group: _difference(job, group), every[begin : begin + job.threads])
            progress.update(len(found), len(every))
    return found


def _difference(job: ExtractJob, group: Group) -> _Found:
    before, after = job.base.read(group.ours), job.tuned.read(group.ours)
    deltas = [after.pop(name).sub_(before.pop(name)) for name in group.ours]
    changed = tuple(name for name, one in zip(group.ours, deltas, strict=True) if bool(one.count_nonzero()))
    if not changed or not job.adapts(group):
        return _Found(group, None, changed)
    delta = deltas[0] if len(deltas) == 1 else torch.cat(deltas)
    return _Found(group, factorise(delta, rank=job.config.rank, energy=job.config.energy), ())


def _adapter(job: ExtractJob, found: list[_Found]) -> AdapterWeights:
    modules: dict[str, LowRank] = {}
    shapes = job.base.weights.shapes
    for one in found:
        if one.factors is None:
            continue
        a = one.factors.a.to(job.dtype)
        parts: tuple[Tensor, ...] = one.factors.b.split([shapes[name][0] for name in one.group.ours])
        for name, b in zip(one.group.ours, parts, strict=True):
            low = LowRank(A=a, B=b.to(job.dtype).contiguous(), scale=1.0, magnitude=None)
            modules[name.removesuffix(_WEIGHT)] = low
    return AdapterWeights(modules=modules, whole={}, base=job.base.path.resolve().name)


def _matrix_rows(found: list[_Found]) -> list[MatrixRow]:
    return [
        MatrixRow(
            name=" + ".join(one.group.ours),
            shape=[len(one.factors.b), one.factors.a.shape[1]],
            rank=len(one.factors.a),
            explained=one.factors.explained,
            norm=one.factors.norm,
        )
        for one in found
        if one.factors is not None
    ]


def _checked(job: ExtractJob, folder: Path) -> CheckReport:
    """The tuned model, and the base with what was written beside it.

    Raises:
        NotAlikeError: they differ by more than the tolerance.
    """
    config = job.base.weights.config
    written = OpenAdapter(folder, 1.0, load_adapter(folder, config))
    after = with_adapters(job.base.path, Adapters((written,), config, unties=False))
    tuned = load_model(job.tuned.path, dtype=torch.float32)
    report = compare_logits(tuned, after, dtype="float32", tolerance=job.config.tolerance)
    if not report.passed:
        raise NotAlikeError(report)
    return report


def _provenance(job: ExtractJob, folder: Path) -> None:
    tokenizer = job.base.source.tokenizer
    write_provenance(
        folder,
        job.invocation,
        inputs={
            f"{one.path.resolve().name}/{file.name}": digest_file(file)
            for one in (job.base, job.tuned)
            for file in one.source.files
        },
        tokenizer_sha256=None if tokenizer is None else tokenizer.sha256,
        packages=PACKAGES,
    )


def _report(job: ExtractJob, *, rows: list[TensorRow], size: int, notes: list[str]) -> MergeReport:
    shapes: Mapping[str, tuple[int, ...]] = job.base.weights.shapes
    able = [group for group in job.groups if job.adapts(group)]
    largest = max(sum(torch.Size(shapes[name]).numel() for name in group.ours) for group in able)
    matrix = next(name for group in able for name in group.ours)
    return MergeReport(
        job="extract",
        out=str(job.out),
        model_type=job.base.weights.config.model_type,
        models=[
            ModelRow(
                name=one.name,
                path=str(one.path),
                dtype=one.weights.dtype(matrix),
                quantised=one.weights.quantised,
            )
            for one in (job.base, job.tuned)
        ],
        dtype=str(job.dtype).removeprefix("torch."),
        parameters=size // job.dtype.itemsize,
        tensors=2 * len(able),
        changed=len(able),
        size_bytes=size,
        files=1,
        memory_bytes=4 * largest * 8 * min(job.threads, len(able)),
        notes=notes,
        rows=rows,
        written=False,
    )


def _row(job: ExtractJob, name: str, shape: tuple[int, int]) -> TensorRow:
    return TensorRow(
        name=name,
        dtype=str(job.dtype).removeprefix("torch."),
        shape=list(shape),
        size_bytes=shape[0] * shape[1] * job.dtype.itemsize,
        source=f"{job.tuned.path} - {job.base.path}",
    )
