"""Which documents a mixture takes, in which order: one unit of work, between the two looks at the documents.

    work/plan                   a PLAN a document of the result, in its order
    work/measure-00000.chosen   uint32: which of a unit's documents are taken at all, rising

About 60 bytes of memory a document that is taken, and 20 a document.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError, UsageError
from llmkit.formats.amount_text import plural
from llmkit.text.mix_amounts import Allotment, Supply, allot, shares_of
from llmkit.text.mix_order import Pass, choose, interleave
from llmkit.workflows.dedup.corpus import map_array
from llmkit.workflows.dedup.files import write_array
from llmkit.workflows.mix.measure import FACTS, WORK, MeasureReport
from llmkit.workflows.mix.options import MixSettings
from llmkit.workflows.units import Output, Unit

MOST_EPOCHS = 10_000
PLAN = np.dtype([("unit", "<u4"), ("place", "<u4"), ("epoch", "<u4")])
"""`unit` of the first look; `place` among the documents that are taken of it; `epoch` from 0."""


class ChooseTask(msgspec.Struct, frozen=True):
    """What the first look has found."""

    settings: MixSettings
    units: tuple[str, ...]
    """Names of the units of the first look, those of one source together, sources in order."""
    reports: tuple[MeasureReport, ...]
    part_bytes: int


class SourceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one source gives. Sizes are in the unit of the mixture."""

    name: str
    share: float
    """Of the mixture, by its weight and the temperature; all of them are 1."""
    documents: int
    """That could be chosen."""
    size: int
    refused_documents: int
    bad_lines: int
    wanted: float
    """What its weight asks of it."""
    achieved: int
    taken_documents: int
    """Written, a document of two epochs twice."""
    taken_bytes: int
    is_dry: bool
    licences: dict[str, list[int]]
    """Documents taken and their size, by licence."""

    @property
    def epochs(self) -> float:
        """How often it was gone through."""
        return self.achieved / self.size


class Chosen(msgspec.Struct, frozen=True):
    """What is known before anything is written."""

    sources: tuple[SourceFacts, ...]
    parts: tuple[int, ...]
    """The first document of each part of the result, and the end."""


def choose_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """Draw lots for all sources, and lay what was drawn over each other."""
    task = msgspec.convert(unit.task, ChooseTask)
    settings = task.settings
    numbers = [
        [n for n, report in enumerate(task.reports) if report.source == s]
        for s in range(len(settings.sources))
    ]
    facts = [_facts(task, units, folder) for units in numbers]
    supplies = _supplies(task, numbers, facts)
    allotments = allot(supplies, settings.total, settings.on_exhaust)
    _check_epochs(settings, supplies, allotments)
    passes = [
        choose(one["size"].astype(np.int64), one["key"], allotment.amount, settings.seed)
        for one, allotment in zip(facts, allotments, strict=True)
    ]
    source = interleave(passes)
    plan = np.empty(len(source), PLAN)
    sizes = np.empty(len(source), np.int64)
    outputs = []
    for number, taken in enumerate(passes):
        mine = source == number
        lengths = [task.reports[n].documents for n in numbers[number]]
        bounds = np.cumsum([0, *lengths])
        index = np.searchsorted(bounds, taken.documents, side="right") - 1
        within = taken.documents - bounds[index]
        places = np.empty(len(within), np.int64)
        for local, n in enumerate(numbers[number]):
            here = index == local
            chosen, places[here] = np.unique(within[here], return_inverse=True)
            path = folder / WORK / f"{task.units[n]}.chosen"
            outputs.append(write_array(path, [chosen.astype("<u4")], folder))
        plan["unit"][mine] = np.asarray(numbers[number])[index]
        plan["place"][mine], plan["epoch"][mine] = places, taken.epochs
        sizes[mine] = facts[number]["bytes"][taken.documents]
    outputs.append(write_array(folder / WORK / "plan", [plan], folder))
    told = [
        _source_facts(task, s, supplies[s].weight, numbers[s], facts[s], passes[s], allotments[s])
        for s in range(len(passes))
    ]
    return outputs, msgspec.to_builtins(Chosen(tuple(told), _parts(sizes, task.part_bytes)))


def _check_epochs(settings: MixSettings, supplies: list[Supply], allotments: list[Allotment]) -> None:
    """Refuse what nobody can mean.

    Raises:
        UsageError: a source would be gone through thousands of times.
    """
    for source, supply, allotment in zip(settings.sources, supplies, allotments, strict=True):
        epochs = allotment.amount / supply.size
        if epochs > MOST_EPOCHS:
            raise UsageError(
                f"source {source.name}: would be gone through {epochs:,.0f} times (at most {MOST_EPOCHS:,})",
                hint=f"limit it, as {source.name}={source.path}:WEIGHT:4, or set a smaller --total",
            )


def _facts(task: ChooseTask, units: list[int], folder: Path) -> NDArray[Any]:
    """FACTS of the documents of one source; `licence` is numbered through the reports of its units."""
    parts = []
    first = 0
    for n in units:
        part = np.array(map_array(folder / WORK / f"{task.units[n]}.facts", FACTS))
        part["licence"] += first
        first += len(task.reports[n].licences)
        parts.append(part)
    return np.concatenate(parts)


def _supplies(task: ChooseTask, numbers: list[list[int]], facts: list[NDArray[Any]]) -> list[Supply]:
    """What each source has, its weight as a share of 1.

    Raises:
        DataError: one has nothing.
    """
    supplies = []
    for source, units, one in zip(task.settings.sources, numbers, facts, strict=True):
        size = int(one["size"].sum(dtype=np.int64))
        if not size:
            reports = [task.reports[n] for n in units]
            refused = sum(sum(report.refused.values()) for report in reports)
            bad = sum(report.bad_lines for report in reports)
            raise DataError(
                f"source {source.name} ({source.path}): nothing to give "
                f"(found {plural(len(one), 'document')} of 0 {task.settings.by}, {refused:,} refused by "
                f"their licence, {bad:,} malformed)",
                hint=f"leave {source.name} out, or look at llmkit show {source.path}",
            )
        weight = float(size) if source.weight is None else source.weight
        supplies.append(Supply(weight, size, source.max_epochs))
    shares = shares_of([supply.weight for supply in supplies], task.settings.temperature)
    return [Supply(share, supply.size, supply.epochs) for share, supply in zip(shares, supplies, strict=True)]


def _source_facts(
    task: ChooseTask,
    number: int,
    share: float,
    units: list[int],
    facts: NDArray[Any],
    taken: Pass,
    allotment: Allotment,
) -> SourceFacts:
    reports = [task.reports[n] for n in units]
    names = [name for report in reports for name in report.licences]
    rows = facts[taken.documents]
    documents, sizes = Counter[str](), Counter[str]()
    counts = np.bincount(rows["licence"], minlength=len(names))
    weights = np.zeros(len(names), np.int64)
    np.add.at(weights, rows["licence"], rows["size"].astype(np.int64))
    for name, count, size in zip(names, counts.tolist(), weights.tolist(), strict=True):
        documents[name] += count
        sizes[name] += size
    return SourceFacts(
        name=task.settings.sources[number].name,
        share=share,
        documents=len(facts),
        size=int(facts["size"].sum(dtype=np.int64)),
        refused_documents=sum(sum(report.refused.values()) for report in reports),
        bad_lines=sum(report.bad_lines for report in reports),
        wanted=allotment.wanted,
        achieved=int(rows["size"].sum(dtype=np.int64)),
        taken_documents=len(rows),
        taken_bytes=int(rows["bytes"].sum(dtype=np.int64)),
        is_dry=allotment.is_dry,
        licences={name: [count, sizes[name]] for name, count in sorted(documents.items()) if count},
    )


def _parts(sizes: NDArray[np.int64], part_bytes: int) -> tuple[int, ...]:
    """Where parts of about so many bytes begin, and the end of the last; one empty part for no documents."""
    number = (np.cumsum(sizes) - sizes) // part_bytes
    starts = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
    return (*(starts or [0]), len(sizes))
