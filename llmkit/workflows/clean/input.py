"""What `clean` reads, in batches of about a mebibyte that a worker can be sent.

A batch is lines of JSON: those of a jsonl file as they stand, or records made of what is none (a text, a page
of a WARC file, a row of parquet). Each knows where it came from, and whether it was found to be malformed.
"""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import msgspec

from llmkit.errors import DataError
from llmkit.formats.digest import content_id
from llmkit.formats.file_kind import holds_json_lines, is_json_lines
from llmkit.formats.json_text import printable
from llmkit.formats.jsonl import BYTE_ORDER_MARK, BadLine, encode_line
from llmkit.formats.not_utf8 import not_utf8, utf8_hint
from llmkit.formats.pages import is_html, read_pages
from llmkit.formats.parquet import is_parquet, read_parquet
from llmkit.formats.stdin_kind import kind_of_pipe
from llmkit.formats.streams import STDIO, input_name, is_stream, open_input, would_wait
from llmkit.formats.warc import is_warc
from llmkit.workflows.units import Piece

BATCH_BYTES = 1 << 20
Kind = Literal["jsonl", "parquet", "pages", "text"]
_OF_PIPES: dict[str, Kind] = {"text": "text", "warc": "pages", "html": "pages"}


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record as JSON without a line feed, or what stood in its place and what is wrong with it."""

    content: bytes
    file: str
    line: int
    problem: str | None = None
    page: tuple[int | None, str] | None = None
    """HTTP's status and the media type, of a page."""


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Lines `first` and following of one file, or entries."""

    file: str = ""
    first: int = 1
    lines: bytes = b""
    entries: tuple[Entry, ...] = ()

    def __iter__(self) -> Iterator[Entry]:
        """Each record; blank lines are passed over."""
        for number, content in enumerate(self.lines.split(b"\n"), self.first):
            if content and not content.isspace():
                yield Entry(content, self.file, number)
        yield from self.entries


def read_batches(
    pieces: Iterable[Piece], *, field: str = "text", flowing: bool = False, skips_bad: bool = False
) -> Iterator[Batch]:
    """The records of some inputs, in order.

    Args:
        pieces: files, parts of files, `-`.
        field: the key that texts of plain files are put under.
        flowing: a batch for each record of what is no jsonl, rather than wait for more.
        skips_bad: what cannot be read as a record becomes an entry with its problem; else it is an error.

    Raises:
        DataError, MissingError: of the readers.
    """
    packed: list[Entry] = []
    size = 0
    for piece in pieces:
        if packed and kind_of(Path(piece.file)) == "jsonl":  # keep the order
            yield Batch(entries=tuple(packed))
            packed, size = [], 0
        for found in _read(piece, field, skips_bad):
            if isinstance(found, Batch):
                yield found
                continue
            packed.append(found)
            size += len(found.content)
            if size >= BATCH_BYTES or flowing:
                yield Batch(entries=tuple(packed))
                packed, size = [], 0
    if packed:
        yield Batch(entries=tuple(packed))


def kind_of(path: Path) -> Kind:
    """What a file holds: see `file_kind`. A stream is taken for jsonl until it is looked at.

    Raises:
        MissingError, DataError: see `holds_json_lines`.
    """
    if is_stream(path):
        return "jsonl"
    if is_parquet(path):
        return "parquet"
    if is_html(path) or is_warc(path):
        return "pages"
    return "jsonl" if holds_json_lines(path) else "text"


def _read(piece: Piece, field: str, skips_bad: bool) -> Iterator[Batch | Entry]:
    """Batches of a jsonl file, or the entries of any other."""
    path = Path(piece.file)
    kind = kind_of(path)
    if kind == "parquet":
        yield from _rows(path, field, skips_bad)
        return
    name = _name_of(Path(piece.stream or piece.file))
    warc = is_warc(path)
    with open_input(path) as stream:
        if is_stream(path) and not is_json_lines(path):
            found, stream = kind_of_pipe(stream)
            kind, warc = _OF_PIPES.get(found, "jsonl"), found == "warc"
        if kind == "jsonl":
            yield from _line_batches(stream, name, piece, waits=path == STDIO)
        elif kind == "pages":
            yield from _pages(stream, name, skips_bad, warc=warc, piped=is_stream(path))
        else:
            yield _text_entry(path, stream.read(), field, skips_bad)


def _line_batches(stream: BinaryIO, name: str, piece: Piece, *, waits: bool) -> Iterator[Batch]:
    if piece.start:
        stream.seek(piece.start)
    number = piece.first_line
    left = None if piece.stop is None else piece.stop - piece.start
    for lines in _whole_lines(stream, left, waits):
        if number == 1:
            lines = lines.removeprefix(BYTE_ORDER_MARK)
        yield Batch(name, number, lines)
        number += lines.count(b"\n")


def _whole_lines(stream: BinaryIO, left: int | None, waits: bool) -> Iterator[bytes]:
    """Blocks that end where a line ends; with `waits` what is there, before more has to be waited for.

    Args:
        stream: at the beginning of a line.
        left: bytes to read; None: to the end.
        waits: the stream is stdin, which may be written slowly.
    """
    read = cast(io.BufferedReader, stream).read1
    held: list[bytes] = []
    size = 0
    while left is None or left > 0:
        block = read(BATCH_BYTES if left is None else min(BATCH_BYTES, left))
        if not block:
            break
        left = None if left is None else left - len(block)
        held.append(block)
        size += len(block)
        end = block.rfind(b"\n") + 1
        if end and (size >= BATCH_BYTES or (waits and would_wait(STDIO))):
            held[-1] = block[:end]
            yield b"".join(held)
            held, size = [block[end:]], len(block) - end
    if size:
        yield b"".join(held)


def _rows(path: Path, field: str, skips_bad: bool) -> Iterator[Entry]:
    """Rows of parquet, and the malformed ones among them in their places."""
    bad: list[BadLine] = []
    for row in read_parquet(path, text_field=field, on_bad=bad.append if skips_bad else None):
        yield from map(_bad_entry, bad)
        bad.clear()
        yield Entry(_as_json(row.record), printable(row.file), row.number)
    yield from map(_bad_entry, bad)


def _pages(stream: BinaryIO, name: str, skips_bad: bool, *, warc: bool, piped: bool) -> Iterator[Entry]:
    """Pages, and the malformed ones among them in their places."""
    bad: list[BadLine] = []
    on_bad = bad.append if skips_bad else None
    for page in read_pages(stream, name, warc=warc, piped=piped, on_bad=on_bad):
        yield from map(_bad_entry, bad)
        bad.clear()
        yield Entry(_as_json(page.record), page.file, page.line, page=(page.status, page.content_type))
    yield from map(_bad_entry, bad)


def _text_entry(path: Path, content: bytes, field: str, skips_bad: bool) -> Entry:
    """A plain file as one record, its name the id."""
    name = _name_of(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = not_utf8(error)
        if not skips_bad:
            raise DataError(f"{name}:{line}: {problem}", hint=utf8_hint(name, content)) from None
        return Entry(content, name, line, problem)
    identity = content_id(text) if is_stream(path) else name
    return Entry(_as_json({"id": identity, field: text}), name, 0)


def _name_of(path: Path) -> str:
    return printable(input_name(path))


def _bad_entry(bad: BadLine) -> Entry:
    return Entry(bad.content, bad.file, bad.number, bad.problem)


def _as_json(record: Any) -> bytes:
    return encode_line(record)[:-1]
