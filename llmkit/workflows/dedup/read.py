"""Documents for `llmkit dedup`, one after another; the malformed ones in their places."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import msgspec

from llmkit.errors import DataError
from llmkit.formats.documents import Document, document_of
from llmkit.formats.jsonl import MALFORMED, BadLine, Line, Record, check_utf_8, decode_value, parse_line
from llmkit.formats.streams import is_stream
from llmkit.workflows.clean.input import Entry, read_batches
from llmkit.workflows.units import Piece

_decode_record = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


def read_pieces(
    pieces: Iterable[Piece],
    *,
    field: str,
    skips_bad: bool,
    flowing: bool = False,
    document_from: Callable[[Line, str], Document] = document_of,
) -> Iterator[Document | BadLine]:
    """The documents of some pieces of input, in order.

    Args:
        pieces: files, parts of files, `-`.
        field: the key of the text.
        skips_bad: a malformed record comes as a BadLine; else it is an error.
        flowing: each as soon as it is there.
        document_from: makes the document of a record without a plain id and text.

    Raises:
        DataError: a malformed record, without `skips_bad`.
    """
    for batch in read_batches(pieces, field=field, flowing=flowing, skips_bad=skips_bad):
        for entry in batch:
            try:
                yield _quickly(entry, field)
            except (KeyError, *MALFORMED):
                yield _carefully(entry, field, skips_bad, document_from)


def good_documents(pieces: Iterable[Piece], *, field: str, skips_bad: bool) -> Iterator[Document]:
    """The documents of some pieces of input, in order; bad lines are told of by who writes results.

    Raises:
        DataError: a malformed record, without `skips_bad`.
    """
    read = read_pieces(pieces, field=field, skips_bad=skips_bad)
    return (one for one in read if isinstance(one, Document))


def spool_streams(paths: Iterable[Path], folder: Path, field: str) -> dict[Path, Path]:
    """Files of `folder` by the inputs that they are made of: what comes on stdin or from a pipe, once."""
    streams = dict.fromkeys(path for path in paths if is_stream(path))
    return {
        stream: _spooled(stream, folder / f"stream-{number}.jsonl", field)
        for number, stream in enumerate(streams)
    }


def value_at(record: Record, path: str) -> Any:
    """The value at a dotted path of a record (`metadata.url`); None where there is none.

    Raises:
        DataError: it is nested too deeply.
    """
    first, *rest = path.split(".")
    if first not in record:
        return None
    value = decode_value(record[first])
    for key in rest:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def source_of(document: Document) -> str:
    """Where a document is from, as it says itself; its file's name where it does not."""
    value = value_at(document.record, "source")
    return value if isinstance(value, str) else PurePath(document.file).name


def _spooled(stream: Path, path: Path, field: str) -> Path:
    """The file, of what comes from a stream; a plain text as one record."""
    with path.open("wb") as out:
        for batch in read_batches([Piece(str(stream))], field=field, skips_bad=True):
            out.write(batch.lines)
            for entry in batch.entries:
                out.write(entry.content + b"\n")
    return path


def _quickly(entry: Entry, field: str) -> Document:
    """The document of a record that has all it should; anything else is left to `_carefully`."""
    if entry.problem is not None:
        raise KeyError
    check_utf_8(entry.content)  # whatever is looked at later, by each of the passes
    record = _decode_record(entry.content)
    return Document(
        id=_decode_text(record["id"]),
        text=_decode_text(record[field]),
        file=entry.file,
        line=entry.line,
        record=record,
    )


def _carefully(
    entry: Entry, field: str, skips_bad: bool, document_from: Callable[[Line, str], Document]
) -> Document | BadLine:
    """The document of a record that may lack its id, or what is wrong with it."""
    file = entry.file
    if entry.problem is not None:
        return BadLine(entry.content, file, entry.line, entry.problem)
    try:
        return document_from(parse_line(entry.content, file, entry.line), field)
    except DataError as error:
        if not skips_bad:
            raise
        return BadLine.of(error, entry.content, file, entry.line)


def group_pieces(pieces: Sequence[Piece], unit_bytes: int) -> list[tuple[Piece, ...]]:
    """Neighbouring pieces together up to a size, so that a thousand small files are not a thousand units."""
    groups: list[tuple[Piece, ...]] = []
    group: list[Piece] = []
    size = 0
    for piece in pieces:
        length = (Path(piece.file).stat().st_size if piece.stop is None else piece.stop) - piece.start
        if group and size + length > unit_bytes:
            groups.append(tuple(group))
            group, size = [], 0
        group.append(piece)
        size += length
    return [*groups, tuple(group)] if group else groups
