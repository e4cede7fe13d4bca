"""Inside a shard folder: one row with the documents in it, and the rows that one document went to."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from llmkit.errors import DataError, GateFailed, UsageError, as_word
from llmkit.formats.amount_text import plural
from llmkit.formats.jsonl import decode_field, read_records
from llmkit.formats.shards import DOCUMENTS, ShardFolder
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.show.shards import open_folder


class Segment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A document, or the part of one that stands in a row."""

    document: int
    """Its number among all documents."""
    id: str
    offset: int
    """Which token of the document comes first."""
    start: int
    """Where in the row it begins."""
    tokens: list[int]
    loss_tokens: int
    """How many of them are learnt as targets."""
    source: str | None = None
    license: str | None = None
    text: str | None = None


class RowReport(msgspec.Struct, frozen=True, kw_only=True):
    """One row."""

    schema: str = "llmkit.show-row/1"
    path: str
    row: int
    shard: str
    padding_tokens: int
    segments: list[Segment]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where part of a document stands."""

    row: int
    shard: str
    start: int
    offset: int
    length: int


class TraceReport(msgspec.Struct, frozen=True, kw_only=True):
    """Where a document went."""

    schema: str = "llmkit.show-trace/1"
    path: str
    id: str
    document: int
    tokens: int
    lost_tokens: int
    """Cut off by --long truncate."""
    places: list[Place]
    source: str | None = None
    license: str | None = None
    epoch: int | None = None
    """Which time it was taken by `mix`, from the second on."""


def show_row(path: Path, row: int, tokenizer_path: Path | None, *, decode: bool) -> RowReport:
    """One row of a shard folder.

    Args:
        path: of the folder.
        row: its number, from 0; negative ones count from the end.
        tokenizer_path: has to be the one that the rows were packed with.
        decode: whether to give the text of each segment too.

    Raises:
        UsageError: no such row, or no shard folder.
        DataError: the shards are damaged, or the tokenizer is another.
    """
    folder = open_folder(path)
    number = row + len(folder) if row < 0 else row
    if not 0 <= number < len(folder):
        raise UsageError(
            f"{path}: no row {row} (found {plural(len(folder), 'row')})", hint=f"--row 0 … {len(folder) - 1}"
        )
    tokenizer = None if tokenizer_path is None else _belonging(tokenizer_path, folder)
    shard, local = folder.place(number)
    notes = folder.shards[shard].notes.take(np.array([local]))
    content = folder.read([number])
    ends = [*notes.starts[1:].tolist(), int(notes.used[0])]
    lines = _lines(path, set(notes.documents.tolist()))
    segments = []
    for document, offset, start, end in zip(
        notes.documents.tolist(), notes.offsets.tolist(), notes.starts.tolist(), ends, strict=True
    ):
        ids = content.tokens[0, start:end].tolist()
        segments.append(
            Segment(
                document=document,
                id=lines[document].id,
                offset=offset,
                start=start,
                tokens=ids,
                loss_tokens=int(content.loss[0, start:end].sum()),
                source=lines[document].source,
                license=lines[document].license,
                text=tokenizer.decode(ids) if tokenizer is not None and decode else None,
            )
        )
    return RowReport(
        path=str(path),
        row=number,
        shard=folder.index.shards[shard].file,
        padding_tokens=folder.index.row_length - int(notes.used[0]),
        segments=segments,
    )


def trace_document(path: Path, identity: str) -> list[TraceReport]:
    """Where the documents with some id went.

    Raises:
        GateFailed: there is none.
        UsageError, DataError: no shard folder, or a damaged one.
    """
    folder = open_folder(path)
    found = [
        TraceReport(
            path=str(path),
            id=identity,
            document=line.document,
            tokens=line.tokens,
            lost_tokens=line.lost_tokens,
            places=list(_places(folder, line.document)),
            source=line.source,
            license=line.license,
            epoch=line.epoch,
        )
        for line in _documents(path)
        if line.id == identity
    ]
    if not found:
        raise GateFailed(
            f"{path}: no document with id {identity!r} (searched {folder.index.documents:,})",
            hint=f"zstd -dc {as_word(path / DOCUMENTS)} | jq -r .id lists them",
        )
    return found


class _Line(msgspec.Struct, frozen=True):
    """A line of documents.jsonl.zst."""

    document: int
    id: str
    tokens: int
    lost_tokens: int = 0
    source: str | None = None
    license: str | None = None
    epoch: int | None = None


def _documents(path: Path) -> Iterator[_Line]:
    for line in read_records(path / DOCUMENTS):
        kinds = {"lost_tokens": int, "source": str, "license": str, "epoch": int}
        known = {key: decode_field(line, key, kind) for key, kind in kinds.items() if key in line.record}
        yield _Line(
            decode_field(line, "document", int),
            decode_field(line, "id", str),
            decode_field(line, "num_tokens", int),
            **known,
        )


def _lines(path: Path, documents: set[int]) -> dict[int, _Line]:
    """What is known of some documents, by number."""
    lines: dict[int, _Line] = {}
    for line in _documents(path):
        if line.document in documents:
            lines[line.document] = line
            if len(lines) == len(documents):
                break
    missing = documents - lines.keys()
    if missing:
        raise DataError(
            f"{path / DOCUMENTS}: no document {min(missing)}", hint="pack again, or fetch the folder again"
        )
    return lines


def _places(folder: ShardFolder, document: int) -> Iterator[Place]:
    """In the order of the document."""
    places = []
    for number, (entry, shard) in enumerate(zip(folder.index.shards, folder.shards, strict=True)):
        notes = shard.notes
        for segment in np.flatnonzero(notes.documents == document):
            row = int(np.searchsorted(notes.segment_rows, segment, side="right")) - 1
            last = segment + 1 == notes.segment_rows[row + 1]
            end = notes.used[row] if last else notes.starts[segment + 1]
            places.append(
                Place(
                    row=folder.first_row(number) + row,
                    shard=entry.file,
                    start=int(notes.starts[segment]),
                    offset=int(notes.offsets[segment]),
                    length=int(end - notes.starts[segment]),
                )
            )
    yield from sorted(places, key=lambda place: place.offset)


def _belonging(path: Path, folder: ShardFolder) -> Tokenizer:
    tokenizer = load_tokenizer(path)
    packed_with = folder.index.tokenizer_sha256
    if packed_with is not None and packed_with != tokenizer.sha256:
        raise DataError(
            f"{folder.path}: packed with another tokenizer than {path} (found sha256 {packed_with[:12]}, "
            f"the given one has {tokenizer.sha256[:12]})",
            hint="give the tokenizer that the rows were packed with",
        )
    return tokenizer
