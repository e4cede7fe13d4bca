"""A run of `llmkit mix`: its inputs, and the phases of units of work that it consists of."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import msgspec

from llmkit.errors import UsageError
from llmkit.formats.documents import list_files
from llmkit.formats.provenance import Invocation
from llmkit.formats.streams import is_stream
from llmkit.progress import Progress
from llmkit.workflows.corpus_files import check_places, refuse_done
from llmkit.workflows.dedup.read import group_pieces, spool_streams
from llmkit.workflows.executors import executor_of
from llmkit.workflows.mix.choose import ChooseTask, Chosen, choose_unit
from llmkit.workflows.mix.measure import WORK, MeasureReport, MeasureTask, measure_unit
from llmkit.workflows.mix.options import MixFiles, MixSettings, check_settings
from llmkit.workflows.mix.write import PartTask, TakeTask, part_unit, take_unit
from llmkit.workflows.phases import Phases
from llmkit.workflows.units import Receipt, fingerprint_of, name_order, split_inputs

Inputs = list[list[Path]]
"""The files of each source, in the order of their names."""


@dataclass(frozen=True)
class MixJob:
    """A run, resolved."""

    settings: MixSettings
    files: MixFiles
    inputs: Inputs
    spools: dict[Path, Path] = field(default_factory=dict)
    """Of streams, which are read once: files of what came, by the inputs."""

    @property
    def every_file(self) -> list[Path]:
        """Of all sources, as they are read."""
        return [self.spools.get(path, path) for paths in self.inputs for path in paths]

    @property
    def every_input(self) -> list[Path]:
        """Of all sources, also as they were named, and the tokenizer."""
        named = [Path(source.path) for source in self.settings.sources]
        tokenizer = self.settings.tokenizer
        return [*named, *self.every_file, *([] if tokenizer is None else [Path(tokenizer)])]

    @cached_property
    def measures(self) -> list[MeasureTask]:
        """The units of the first look; cutting inputs into them counts their lines, which takes a while."""
        unit_bytes = self.files.unit_bytes
        return [
            MeasureTask(number, pieces, self.settings)
            for number, paths in enumerate(self.inputs)
            for pieces in group_pieces(
                split_inputs(paths, unit_bytes=unit_bytes, spools=self.spools), unit_bytes
            )
        ]


def resolve_mix(files: MixFiles, settings: MixSettings, invocation: Invocation | None = None) -> MixJob:
    """The files of each source, after all that can be checked before any work.

    Args:
        files: where things go.
        settings: what is mixed.
        invocation: of the work itself; a plan has none.
    """
    check_settings(settings, files)
    inputs: Inputs = []
    owner: dict[Path, str] = {}
    for source in settings.sources:
        paths = sorted(list_files(source.files), key=name_order)
        for path in paths:
            place = path if is_stream(path) else path.resolve()
            if place in owner:
                raise UsageError(
                    f"{path}: in two sources, {owner[place]} and {source.name}",
                    hint="a file belongs to one of them",
                )
            owner[place] = source.name
        inputs.append(paths)
    job = MixJob(settings, files, inputs)
    if invocation is not None:
        refuse_done(files, portable_call(invocation, settings), lambda: job.every_file)
    check_places(files, job.every_input)
    executor_of(files.executor, files.workers)
    if settings.tokenizer is not None:
        from llmkit.tokens.load import load_tokenizer

        digest = load_tokenizer(Path(settings.tokenizer)).sha256
        threads = None if files.workers == 1 else 1
        settings = msgspec.structs.replace(settings, tokenizer_sha256=digest, threads=threads)
    return MixJob(settings, files, inputs)


def phases_of(job: MixJob, folder: Path, stage: str, progress: Progress) -> Phases:
    """What the phases of a job have in common; `stage` tells a plan from the work itself."""
    (folder / WORK).mkdir(exist_ok=True)
    return Phases(
        folder=folder,
        executor=executor_of(job.files.executor, job.files.workers),
        fingerprint=fingerprint_of_mix(job, stage),
        shard=job.files.shard,
        progress=progress,
    )


def choose_documents(job: MixJob, phases: Phases) -> tuple[Chosen, list[str]]:
    """Look at all documents and draw lots; also the names of the units that have looked."""
    receipts = phases.run("measure", measure_unit, job.measures)
    reports = tuple(msgspec.convert(receipt.report, MeasureReport) for receipt in receipts)
    names = [receipt.unit for receipt in receipts]
    task = ChooseTask(job.settings, tuple(names), reports, job.files.part_bytes)
    (receipt,) = phases.run("choose", choose_unit, [task], digits=0)
    return msgspec.convert(receipt.report, Chosen), names


def write_parts(job: MixJob, phases: Phases, chosen: Chosen, names: list[str], suffix: str) -> list[Receipt]:
    """The second look, and the parts of the result."""
    sources = job.settings.sources
    takes = [
        TakeTask(sources[task.source].name, task.pieces, job.settings, name)
        for task, name in zip(job.measures, names, strict=True)
    ]
    phases.run("take", take_unit, takes)
    parts = [
        PartTask(f"part-{number:05d}{suffix}", start, stop, tuple(names))
        for number, (start, stop) in enumerate(pairwise(chosen.parts))
    ]
    return phases.run("part", part_unit, parts)


def portable_call(invocation: Invocation, settings: MixSettings) -> Invocation:
    """The record of how it was called, but for where sources are and in which order they were named."""
    typed = invocation.settings.get("source") or []
    told = [source.described(Path(source.path).name) for source in settings.sources]
    ordered = iter(told)
    words = tuple(next(ordered) if word in typed else word for word in invocation.words)
    return Invocation(invocation.command, invocation.settings | {"source": told}, words)


def with_spooled(job: MixJob, folder: Path) -> MixJob:
    """The same, streams as files that can be read twice."""
    return replace(job, spools=spool_streams(job.every_file, folder, job.settings.field))


def fingerprint_of_mix(job: MixJob, stage: str) -> str:
    """A digest of all that decides the job's bytes."""
    settings = msgspec.structs.replace(job.settings, threads=None)
    names = [[path.name for path in paths] for paths in job.inputs]
    cuts = [job.files.unit_bytes, job.files.part_bytes]
    return fingerprint_of(stage, [settings, names, cuts], job.every_file)
