"""llmkit dedup: documents in, those that are no duplicates out."""

import shutil
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from llmkit.errors import GateFailed, UsageError
from llmkit.formats.amount_text import plural
from llmkit.formats.atomic import write_atomic
from llmkit.formats.digest import digest_inputs, digest_path
from llmkit.formats.documents import Document, list_files
from llmkit.formats.json_text import json_text
from llmkit.formats.jsonl import BadLine
from llmkit.formats.provenance import Invocation, write_provenance
from llmkit.formats.streams import is_terminal, open_output
from llmkit.progress import Progress
from llmkit.workflows.corpus_files import check_places, join_parts, refuse_done, work_folder
from llmkit.workflows.dedup.choose import DROPPED, histogram
from llmkit.workflows.dedup.clusters import write_clusters
from llmkit.workflows.dedup.corpus import WORK, map_array
from llmkit.workflows.dedup.filter import filter_documents
from llmkit.workflows.dedup.index import read_index, save_index
from llmkit.workflows.dedup.job import DedupJob, Found, filter_parts, find_duplicates
from llmkit.workflows.dedup.options import DedupConfig, DedupSources, check_options, usual
from llmkit.workflows.dedup.read import group_pieces, read_pieces, spool_streams
from llmkit.workflows.dedup.report import DedupReport, make_report, sum_tallies
from llmkit.workflows.dedup.shingles import ShingleStore
from llmkit.workflows.dedup.signed import open_corpus
from llmkit.workflows.dedup.stream import stream_documents
from llmkit.workflows.dedup.write import DocumentWriter, Tally
from llmkit.workflows.executors import executor_of
from llmkit.workflows.phases import Phases
from llmkit.workflows.unit_folder import finish_units, unit_folder
from llmkit.workflows.units import Piece, fingerprint_of, name_order, split_inputs

PACKAGES = ("numpy", "xxhash", "msgspec", "zstandard")
_RECEIPTS = 2
"""The form of units' receipts: a folder that was begun with another is begun anew."""


def dedup_files(
    sources: DedupSources,
    config: DedupConfig,
    *,
    invocation: Invocation,
    progress: Progress,
    fail_over: float | None = None,
) -> DedupReport:
    """Remove duplicates from some documents.

    Args:
        sources: where things are, and who does the work.
        config: what is a duplicate, and what becomes of it.
        invocation: goes into `llmkit.json` of a folder.
        progress: told how far it is.
        fail_over: the share of duplicates above which the answer is no, though all is written.

    Raises:
        AlreadyDone: this is a shard, and all shards are done.
        UsageError: flags that do not go together, or an output that exists or is an input.
        DataError, MissingError: of the readers, or of an index.
        ResourceError: the memory does not do.
        StoppedResumable: stopped, or other shards are not there yet.
        GateFailed: more than `fail_over` are duplicates.
    """
    begin = time.monotonic()
    config = usual(config)
    inputs = prepare(sources, config, invocation)
    if flows(sources, config):
        tally, found = _stream(sources, config, inputs, progress)
    elif sources.is_folder:
        tally, found = _to_folder(sources, config, inputs, invocation, progress)
    else:
        tally, found = _to_file(sources, config, inputs, progress)
    report = make_report(
        config,
        tally,
        found,
        out="-" if sources.out is None else str(sources.out),
        seconds=time.monotonic() - begin,
    )
    if sources.report is not None:
        write_atomic(sources.report, json_text(msgspec.to_builtins(report)))
    if fail_over is not None and report.share > fail_over:
        raise GateFailed(
            f"--fail-if-dropped-over {fail_over:g}: {report.share:.1%} duplicates among "
            f"{plural(report.documents, 'document')}",
            hint="look at them with --rejects or --clusters",
        )
    return report


def prepare(sources: DedupSources, config: DedupConfig, invocation: Invocation | None = None) -> list[Path]:
    """The inputs in the order of their names, after all that can be checked before any work.

    Args:
        invocation: of the work itself; a plan has none.

    Raises:
        AlreadyDone, UsageError, MissingError: as `dedup_files`.
    """
    check_options(config, sources)
    inputs = sorted(list_files(sources.inputs), key=name_order)
    if invocation is not None:
        refuse_done(sources, invocation, lambda: inputs)
    reads = [*sources.inputs, *inputs]
    check_places(sources, reads)
    if (index := sources.against) is not None:
        renews = sources.save_index is not None and sources.save_index.resolve() == index.resolve()
        check_places(replace(sources, save_index=None) if renews else sources, [*reads, index])
    return inputs


def flows(sources: DedupSources, config: DedupConfig) -> bool:
    """Whether documents go out as they come in: nothing that comes later can change what is kept."""
    extras = (sources.clusters, sources.against, sources.save_index, sources.shard)
    is_plain = not sources.is_folder and all(one is None for one in extras)
    return config.keeps_first and config.by not in ("near", "substring") and is_plain and sources.workers == 1


def _stream(
    sources: DedupSources, config: DedupConfig, inputs: list[Path], progress: Progress
) -> tuple[Tally, dict[str, Any]]:
    watched = sources.unbuffered or is_terminal(sources.out)
    with ExitStack() as stack:
        rejects = _open_rejects(stack, sources, inputs)
        kept = stack.enter_context(open_output(sources.out, force=sources.force, inputs=inputs))
        writer = DocumentWriter(config, kept, rejects)

        def after(document: Document | BadLine) -> None:
            if watched:
                kept.flush()
            progress.update(writer.tally.documents, kept=writer.tally.kept)

        documents = read_pieces(
            [Piece(str(path)) for path in inputs],
            field=config.field,
            skips_bad=sources.skips_bad,
            flowing=watched,
        )
        facts = stream_documents(documents, writer, config, memory_bytes=sources.memory_bytes, after=after)
    found = {
        "by_source": [[own, other, count] for (own, other), count in sorted(facts.by_source.items())],
        "without_key": facts.without_key,
        "clusters": len(facts.sizes),
        "sizes": histogram(np.array(facts.sizes, np.int64)),
    }
    return writer.tally, found


def _to_file(
    sources: DedupSources, config: DedupConfig, inputs: list[Path], progress: Progress
) -> tuple[Tally, dict[str, Any]]:
    """One file or stdout, by way of a folder that goes when it is done."""
    with ExitStack() as stack:
        rejects = _open_rejects(stack, sources, inputs)
        folder = stack.enter_context(work_folder(sources.out, "dedup"))
        spools = spool_streams(inputs, folder, config.field)
        phases = _phases(sources, folder, "", progress)  # nothing can be there from another job
        job = _job(sources, config, inputs, phases, part_suffix=".jsonl", spools=spools)
        found = find_duplicates(job)
        kept = stack.enter_context(open_output(sources.out, force=sources.force, inputs=sources.inputs))
        if sources.workers == 1:
            writer = DocumentWriter(config, kept, rejects)
            for number, task in enumerate(found.filters):
                filter_documents(task, folder, writer)
                progress.update(number + 1, len(found.filters), phase="filter")
            tally = writer.tally
        else:
            receipts = filter_parts(job, found)
            tally = sum_tallies(receipt.report for receipt in receipts)
            join_parts((folder / task.part for task in found.filters), kept)
            if rejects is not None:
                join_parts((folder / str(task.rejects) for task in found.filters), rejects)
        _write_extras(sources, config, folder, found)
    return tally, found.facts


def _to_folder(
    sources: DedupSources,
    config: DedupConfig,
    inputs: list[Path],
    invocation: Invocation,
    progress: Progress,
) -> tuple[Tally, dict[str, Any]]:
    """A folder of parts, that is gone on with when it was stopped."""
    assert sources.out is not None
    key = _fingerprint(sources, config, inputs)
    with unit_folder(sources.out, key, shared=sources.shard is not None) as folder:
        phases = _phases(sources, folder, key, progress)
        job = _job(sources, config, inputs, phases, part_suffix=".jsonl.zst", spools={})
        found = find_duplicates(job)
        receipts = filter_parts(job, found)

    def close(folder: Path) -> None:
        if sources.rejects is not None:
            with open_output(sources.rejects, force=True) as stream:
                join_parts((folder / str(task.rejects) for task in found.filters), stream)
        _write_extras(sources, config, folder, found, force=True)
        shutil.rmtree(folder / WORK)
        write_provenance(folder, invocation, inputs=digest_inputs(inputs), packages=PACKAGES)

    beside = [sources.rejects, sources.clusters, sources.save_index]
    finished = finish_units(sources.out, phases.done, key, close, beside=beside)
    if finished is None and sources.shard is None:
        raise UsageError(f"{sources.out}: another process is finishing it", hint="wait for it")
    return sum_tallies(receipt.report for receipt in receipts), found.facts


def _phases(sources: DedupSources, folder: Path, fingerprint: str, progress: Progress) -> Phases:
    return Phases(
        folder=folder,
        executor=executor_of(sources.executor, sources.workers),
        fingerprint=fingerprint,
        shard=sources.shard,
        progress=progress,
    )


def _job(
    sources: DedupSources,
    config: DedupConfig,
    inputs: list[Path],
    phases: Phases,
    *,
    part_suffix: str,
    spools: dict[Path, Path],
) -> DedupJob:
    pieces = split_inputs(inputs, unit_bytes=sources.unit_bytes, spools=spools)
    note = None if sources.against is None else read_index(sources.against, config)
    return DedupJob(
        config=config,
        inputs=group_pieces(pieces, sources.unit_bytes),
        phases=phases,
        memory_bytes=sources.memory_bytes,
        workers=sources.workers,
        skips_bad=sources.skips_bad,
        with_rejects=sources.rejects is not None,
        part_suffix=part_suffix,
        index=sources.against,
        index_sources=() if note is None else note.sources,
        index_documents=0 if note is None else note.documents,
        all_sets=sources.save_index is not None,
    )


def _fingerprint(sources: DedupSources, config: DedupConfig, inputs: list[Path]) -> str:
    index = None if sources.against is None else digest_path(sources.against)
    flags = [sources.skips_bad, sources.rejects is not None, sources.save_index is not None]
    return fingerprint_of("dedup", [asdict(config), index, flags, sources.unit_bytes, _RECEIPTS], inputs)


def _write_extras(
    sources: DedupSources, config: DedupConfig, folder: Path, found: Found, *, force: bool = False
) -> None:
    """The clusters and the index."""
    if found.signed is None or (sources.clusters is None and sources.save_index is None):
        return
    corpus = open_corpus(found.signed, folder)
    dropped = map_array(folder / WORK / "choose.dropped", DROPPED)
    if sources.clusters is not None:
        with open_output(sources.clusters, force=sources.force or force) as stream:
            write_clusters(stream, corpus, dropped)
    if sources.save_index is not None:
        store = ShingleStore.open(found.signed, folder) if config.by == "near" else None
        save_index(sources.save_index, config, corpus, store, np.asarray(dropped["document"]))


def _open_rejects(stack: ExitStack, sources: DedupSources, inputs: list[Path]) -> BinaryIO | None:
    if sources.rejects is None:
        return None
    return stack.enter_context(open_output(sources.rejects, force=sources.force, inputs=inputs))
