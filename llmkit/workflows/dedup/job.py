"""The phases of `llmkit dedup`. Units of a phase may run anywhere; the next phase begins when all are done.

--by near            --by exact   --by paragraph, line, substring   a unit has
sign                 sign         mark                              some of the input
band                                                                some of the bands
pairs                                                               the candidates of all bands: one unit
shingles                                                            some of the input: what is a candidate
compare                                                             some of the candidates
choose               choose       again                             all documents: one unit
filter               filter       filter                            some of the input
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from llmkit.text.clusters_prefer import FIRST
from llmkit.workflows.dedup.choose import ChooseTask, choose_unit
from llmkit.workflows.dedup.corpus import WORK
from llmkit.workflows.dedup.filter import FilterTask, filter_unit
from llmkit.workflows.dedup.options import PIECES, DedupConfig
from llmkit.workflows.dedup.pairs import (
    BandTask,
    CompareTask,
    MergeTask,
    band_unit,
    compare_unit,
    merge_unit,
)
from llmkit.workflows.dedup.pieces import AgainTask, again_unit, mark_unit
from llmkit.workflows.dedup.shingles import ShingleTask, shingle_unit
from llmkit.workflows.dedup.sign import SignTask, sign_unit
from llmkit.workflows.dedup.signed import Signed, write_signed
from llmkit.workflows.dedup.spans import RepeatTask, repeat_unit, window_unit
from llmkit.workflows.phases import Phases
from llmkit.workflows.units import Piece, Receipt

_KEYS_PER_UNIT = 1 << 21
_PAIRS_PER_UNIT = 1 << 18


@dataclass(frozen=True, kw_only=True)
class DedupJob:
    """What all phases need to know."""

    config: DedupConfig
    inputs: Sequence[tuple[Piece, ...]]
    """The input of each unit that reads documents."""
    phases: Phases
    memory_bytes: int
    workers: int
    skips_bad: bool
    with_rejects: bool
    part_suffix: str
    """`.jsonl.zst` in a folder; `.jsonl` where the parts are put together."""
    index: Path | None = None
    index_sources: tuple[str, ...] = ()
    index_documents: int = 0
    all_sets: bool = False


class Found(msgspec.Struct, frozen=True):
    """What is known before the last look at the documents."""

    filters: tuple[FilterTask, ...]
    """One a unit of input."""
    signed: Signed | None
    """None by paragraph, line and substring."""
    facts: dict[str, Any]


def find_duplicates(job: DedupJob) -> Found:
    """All phases but the last."""
    (job.phases.folder / WORK).mkdir(exist_ok=True)
    return _find_pieces(job) if job.config.by in PIECES else _find_documents(job)


def filter_parts(job: DedupJob, found: Found) -> list[Receipt]:
    """The last phase: parts of the result, and of the rejects."""
    return job.phases.run("filter", filter_unit, found.filters)


def _find_documents(job: DedupJob) -> Found:
    config = job.config
    signs = job.phases.run("sign", sign_unit, _sign_tasks(job))
    signed = Signed(
        config=config,
        names=tuple(receipt.unit for receipt in signs),
        sources=tuple(tuple(receipt.report["sources"]) for receipt in signs),
        all_sets=job.all_sets,
        index=None if job.index is None else str(job.index.resolve()),
        index_sources=job.index_sources,
    )
    write_signed(signed, job.phases.folder)
    counts = [receipt.report["documents"] for receipt in signs]
    firsts = [job.index_documents + sum(counts[:number]) for number in range(len(counts))]
    facts: dict[str, Any] = {
        "index_documents": job.index_documents,
        "had_by_none": _had_by_none(config, [receipt.report["having"] for receipt in signs]),
    }
    compared: tuple[str, ...] = ()
    if config.by == "near":
        compared, facts["candidates"] = _compare_near(job, firsts, counts)
    (chosen,) = job.phases.run("choose", choose_unit, [ChooseTask(compared, job.memory_bytes)], digits=0)
    filters = [
        _filter_task(job, number, first, count)
        for number, (first, count) in enumerate(zip(firsts, counts, strict=True))
    ]
    return Found(tuple(filters), signed, facts | chosen.report)


def _compare_near(job: DedupJob, firsts: Sequence[int], counts: Sequence[int]) -> tuple[tuple[str, ...], int]:
    """From the bands to pairs that are alike: the units that have compared them, and how many there were."""
    config = job.config
    each = max(1, _KEYS_PER_UNIT // max(1, job.index_documents + sum(counts)))  # small corpora: few files
    shares = [tuple(range(config.bands)[start : start + each]) for start in range(0, config.bands, each)]
    memory = job.memory_bytes // min(job.workers, len(shares))
    banded = job.phases.run("band", band_unit, [BandTask(share, memory) for share in shares], digits=2)
    names = tuple(receipt.unit for receipt in banded)
    (merged,) = job.phases.run("pairs", merge_unit, [MergeTask(names, job.memory_bytes)], digits=0)
    pairs = merged.report["pairs"]
    if not config.verify:
        return (), pairs
    again = [
        ShingleTask(pieces, config, job.skips_bad, first, count, job.all_sets)
        for pieces, first, count in zip(job.inputs, firsts, counts, strict=True)
    ]
    job.phases.run("shingles", shingle_unit, again)
    starts = range(0, pairs, _PAIRS_PER_UNIT)
    parts = [CompareTask(start, min(start + _PAIRS_PER_UNIT, pairs)) for start in starts]
    return tuple(receipt.unit for receipt in job.phases.run("compare", compare_unit, parts)), pairs


def _find_pieces(job: DedupJob) -> Found:
    is_substring = job.config.by == "substring"
    marks = job.phases.run("mark", window_unit if is_substring else mark_unit, _sign_tasks(job))
    names = tuple(receipt.unit for receipt in marks)
    if is_substring:
        job.phases.run("again", repeat_unit, [RepeatTask(names, job.config, job.memory_bytes)], digits=0)
    else:
        job.phases.run("again", again_unit, [AgainTask(names, job.memory_bytes)], digits=0)
    counts = [receipt.report["pieces"] for receipt in marks]
    filters = [_filter_task(job, number, sum(counts[:number]), count) for number, count in enumerate(counts)]
    return Found(tuple(filters), None, {})


def _had_by_none(config: DedupConfig, having: Sequence[Sequence[int]]) -> list[str]:
    """The keys of the preference that no document has a value at.

    Args:
        config: has the preference.
        having: of each unit, the documents with a value for each term.
    """
    keys = [term.key for term in config.terms if term is not FIRST]
    return [key for number, key in enumerate(keys) if not any(counts[number] for counts in having)]


def _sign_tasks(job: DedupJob) -> list[SignTask]:
    return [SignTask(pieces, job.config, job.skips_bad) for pieces in job.inputs]


def _filter_task(job: DedupJob, number: int, first: int, count: int) -> FilterTask:
    return FilterTask(
        pieces=job.inputs[number],
        config=job.config,
        skips_bad=job.skips_bad,
        part=f"part-{number:05d}{job.part_suffix}",
        rejects=f"{WORK}/rejects-{number:05d}.jsonl" if job.with_rejects else None,
        first=first,
        count=count,
    )
