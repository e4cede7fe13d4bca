"""`clean` into a folder of parts, one a unit of work: stopped at any moment, the same line goes on.

OUT/part-00000.jsonl.zst …    documents, in the order of the names of their inputs
OUT/llmkit.json               what made them
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from llmkit.formats.atomic import atomic_file
from llmkit.formats.digest import digest_inputs
from llmkit.formats.provenance import Invocation, portable, write_provenance
from llmkit.formats.streams import compression_of, open_output
from llmkit.progress import SILENT, Progress
from llmkit.workflows.clean.input import kind_of, read_batches
from llmkit.workflows.clean.options import CleanFiles, CleanSettings
from llmkit.workflows.clean.steps import build_cleaner
from llmkit.workflows.clean.tally import Tally, tally_from, tally_report
from llmkit.workflows.corpus_files import check_places, join_parts, refuse_done
from llmkit.workflows.executors import executor_of
from llmkit.workflows.unit_folder import finish_units, unit_folder
from llmkit.workflows.units import (
    UNIT_BYTES,
    Output,
    Piece,
    Receipt,
    Unit,
    fingerprint_of,
    name_order,
    output_of,
    run_units,
    select_shard,
    split_inputs,
)

_REJECTS = ".rejects"


def clean_folder(
    files: CleanFiles,
    settings: CleanSettings,
    inputs: Sequence[Path],
    check: Callable[[Tally], None],
    *,
    invocation: Invocation,
    progress: Progress = SILENT,
) -> tuple[Tally, bool]:
    """Clean documents into a folder, unit by unit.

    Args:
        files: where things go, how many workers there are, and which shard this is.
        settings: what is done.
        inputs: files, folders already listed; their order is of no account.
        check: called with what was counted so far, behind each unit; raises to stop.
        invocation: goes into `llmkit.json`.
        progress: told how many units are done.

    Returns:
        What was counted, and whether the folder is whole. It is not where other shards are missing: then only
        the units of this shard are counted.

    Raises:
        AlreadyDone: this is a shard, and all shards are done.
        UsageError: an output exists, or is or holds what is read, stdin is an input, or another process is at
            work here.
        LlmkitError: what a unit failed with; units that are done are kept.
    """
    assert files.out is not None
    made = _in_name_order(invocation, files.inputs)

    def reads() -> list[Path]:
        rules = [] if files.rules is None else [files.rules]
        return [*sorted(inputs, key=name_order), *rules, *(Path(path) for path, _ in settings.against)]

    refuse_done(files, made, reads)
    check_places(files, files.reads(inputs, settings))
    units = units_of(settings, inputs, None if files.rejects is None else files.rejects.suffix)
    fingerprint = fingerprint_of("clean", [settings, [unit.task for unit in units]], inputs)
    mine = select_shard(units, files.shard)
    tally = Tally()
    done = 0

    def on_done(receipt: Receipt) -> None:
        nonlocal done
        done += 1
        tally.merge(tally_from(receipt.report))
        progress.update(done, len(mine), documents=tally.documents, kept=tally.kept)
        check(tally)

    with unit_folder(files.out, fingerprint, shared=files.shard is not None) as folder:
        executor = executor_of(files.executor, files.workers)
        receipts = run_units(
            clean_unit, mine, folder=folder, executor=executor, fingerprint=fingerprint, on_done=on_done
        )

    def close(folder: Path) -> None:
        if files.rejects is not None:
            with atomic_file(files.rejects) as stream:
                join_parts((_rejects_part(folder, unit) for unit in units), stream)
        write_provenance(folder, made, inputs=digest_inputs(reads()), packages=("zstandard",))

    finished = finish_units(files.out, units, fingerprint, close, beside=[files.rejects])
    return merge_receipts(receipts if finished is None else finished), finished is not None


def units_of(
    settings: CleanSettings,
    inputs: Sequence[Path],
    rejects_suffix: str | None = None,
    *,
    numbered: bool = True,
) -> list[Unit]:
    """The units of a job: each has its pieces and what is done with them.

    Args:
        rejects_suffix: `.zst`, `.gz` or another one where rejects are written, whose parts are then joined.
        numbered: see `split_inputs`.
    """
    return [
        Unit(
            f"clean-{number:05d}",
            {
                "number": number,
                "pieces": msgspec.to_builtins(pieces),
                "settings": msgspec.to_builtins(settings),
                "rejects": rejects_suffix,
            },
        )
        for number, pieces in enumerate(_grouped(split_inputs(inputs, numbered=numbered)))
    ]


def clean_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """Clean the pieces of one unit into its part."""
    settings = msgspec.convert(unit.task["settings"], CleanSettings)
    pieces = msgspec.convert(unit.task["pieces"], list[Piece])
    part = folder / f"part-{unit.task['number']:05d}.jsonl.zst"
    suffix = unit.task["rejects"]
    tally = Tally()
    rejects: BinaryIO | None = None
    with ExitStack() as stack:
        if suffix is not None:
            path = _rejects_part(folder, unit)
            rejects = stack.enter_context(open_output(path, force=True))
        out = stack.enter_context(open_output(part, force=True))
        cleaner = stack.enter_context(build_cleaner(settings))
        for batch in read_batches(pieces, field=settings.field, skips_bad=settings.keep_bad):
            cleaned = cleaner(batch)
            out.write(cleaned.kept)
            if rejects is not None:
                rejects.write(cleaned.rejects)
            tally.merge(cleaned.tally)
    outputs = [output_of(part, folder, tally.kept)]
    if suffix is not None:
        outputs.append(output_of(_rejects_part(folder, unit), folder, tally.documents - tally.kept))
    return outputs, tally_report(tally)


def merge_receipts(receipts: Sequence[Receipt]) -> Tally:
    """What some units counted, together."""
    tally = Tally()
    for receipt in receipts:
        tally.merge(tally_from(receipt.report))
    return tally


def _grouped(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Pieces of units: small texts and pages together, every jsonl, WARC or parquet piece by itself."""
    group: list[Piece] = []
    size = 0
    for piece in pieces:
        path = Path(piece.file)
        is_small = kind_of(path) in ("text", "pages") and compression_of(path) is None
        length = path.stat().st_size if is_small else 0
        if group and (not is_small or size + length > UNIT_BYTES):
            yield group
            group, size = [], 0
        if not is_small:
            yield [piece]
            continue
        group.append(piece)
        size += length
    if group:
        yield group


def _rejects_part(folder: Path, unit: Unit) -> Path:
    return folder / _REJECTS / f"rejects-{unit.task['number']:05d}.jsonl{unit.task['rejects']}"


def _in_name_order(invocation: Invocation, inputs: Sequence[Path]) -> Invocation:
    """The record of how it was called, but for the order in which the inputs were named."""
    names = [portable(path) for path in inputs]
    ordered = iter(sorted(names))
    left = Counter(names)
    words = []
    for word in invocation.words:
        is_input = left[word] > 0
        left[word] -= is_input
        words.append(next(ordered) if is_input else word)
    settings = invocation.settings | ({"inputs": sorted(names)} if "inputs" in invocation.settings else {})
    return Invocation(invocation.command, settings, tuple(words))
