"""The last pass over the documents: those that stay are written, the others rejected."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.formats.documents import Document
from llmkit.formats.streams import open_output
from llmkit.text.exact_pieces import split_pieces
from llmkit.text.spans import covered, elements, spans_of
from llmkit.workflows.dedup.choose import DROPPED, KEEPER
from llmkit.workflows.dedup.corpus import WORK, map_array
from llmkit.workflows.dedup.options import PIECES, DedupConfig
from llmkit.workflows.dedup.pieces import flags_of, piece_kind
from llmkit.workflows.dedup.read import read_pieces
from llmkit.workflows.dedup.signed import open_corpus, read_signed
from llmkit.workflows.dedup.spans import is_dropped
from llmkit.workflows.dedup.write import DocumentWriter
from llmkit.workflows.units import Output, Piece, Unit, output_of


class FilterTask(msgspec.Struct, frozen=True):
    """Reads the input of a unit for the last time."""

    pieces: tuple[Piece, ...]
    config: DedupConfig
    skips_bad: bool
    part: str
    """Name of the part to write; `.zst` is compressed."""
    rejects: str | None
    first: int
    """Number of its first document; by paragraph, line and substring of its first piece of text."""
    count: int
    """Of documents, or pieces of text."""


def filter_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """Write the documents of a unit that stay, and those that do not."""
    task = msgspec.convert(unit.task, FilterTask)
    paths = [folder / name for name in (task.part, task.rejects) if name is not None]
    with ExitStack() as stack:
        streams = [stack.enter_context(open_output(path, force=True)) for path in paths]
        writer = DocumentWriter(task.config, streams[0], streams[1] if task.rejects else None)
        filter_documents(task, folder, writer)
    rows = (writer.tally.kept, writer.tally.removed + writer.tally.bad_lines)
    outputs = [output_of(path, folder, count) for path, count in zip(paths, rows, strict=False)]
    return outputs, msgspec.to_builtins(writer.tally)


def filter_documents(task: FilterTask, folder: Path, writer: DocumentWriter) -> None:
    """Hand each document of a unit to the writer, with what was decided."""
    read = read_pieces(task.pieces, field=task.config.field, skips_bad=task.skips_bad)
    if task.config.by in PIECES:
        _cut_documents(task, folder, read, writer)
        return
    corpus = open_corpus(read_signed(folder), folder)
    dropped = _between(folder / WORK / "choose.dropped", DROPPED, task.first, task.count)
    keepers = _between(folder / WORK / "choose.keepers", KEEPER, task.first, task.count)
    keeper_of = dict(zip(dropped["document"].tolist(), dropped["keeper"].tolist(), strict=True))
    similarity_of = dict(zip(dropped["document"].tolist(), dropped["similarity"].tolist(), strict=True))
    members_of = dict(zip(keepers["document"].tolist(), keepers["members"].tolist(), strict=True))
    number = task.first
    for document in read:
        if not isinstance(document, Document):
            writer.bad(document)
            continue
        keeper = keeper_of.get(number)
        if keeper is None:
            writer.keep(document, members=0 if task.config.keeps_first else members_of.get(number, 0))
        else:
            measured = similarity_of[number]
            similarity = None if np.isnan(measured) else measured
            writer.duplicate(document, keeper=corpus.identity(keeper), similarity=similarity)
        number += 1


def _cut_documents(task: FilterTask, folder: Path, read: Any, writer: DocumentWriter) -> None:
    """Hand over each document with those of its pieces that repeat earlier ones."""
    flags = flags_of(folder, task.first, task.first + task.count)
    if task.config.by == "substring":
        _cut_spans(task.config, flags, read, writer)
        return
    position = 0
    for document in read:
        if not isinstance(document, Document):
            writer.bad(document)
            continue
        pieces = split_pieces(document.text, piece_kind(task.config), min_words=task.config.min_words)
        own = flags[position : position + len(pieces)].tolist()
        position += len(pieces)
        writer.cut(document, [piece for piece, again in zip(pieces, own, strict=True) if again])


def _cut_spans(config: DedupConfig, flags: NDArray[np.uint8], read: Any, writer: DocumentWriter) -> None:
    """Hand over each document with its repeated spans, or as one to drop."""
    position = 0
    for document in read:
        if not isinstance(document, Document):
            writer.bad(document)
            continue
        _, places = elements(document.text, config.unit)
        again = flags[position : position + max(0, len(places) - config.span + 1)] != 0
        position += len(again)
        if not again.any():
            writer.keep(document)
            continue
        inside = covered(again, config.span)
        if config.drop_above is None:
            writer.cut(document, spans_of(document.text, places, inside))
        elif is_dropped(inside, config):
            writer.repetitive(document, float(inside.mean()))
        else:
            writer.keep(document)


def _between(path: Path, dtype: np.dtype, first: int, count: int) -> Any:
    """The rows about the documents of one unit."""
    rows = map_array(path, dtype)
    start, stop = np.searchsorted(np.asarray(rows["document"]), [first, first + count]).tolist()
    return np.asarray(rows[start:stop])
