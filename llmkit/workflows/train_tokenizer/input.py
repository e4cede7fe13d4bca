"""What `llmkit train-tokenizer` reads: parts of text, each with the name of where it comes from."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from llmkit.errors import DataError
from llmkit.formats.documents import list_files
from llmkit.formats.file_kind import kind_of_input
from llmkit.formats.jsonl import Line, OnBad, decode_field, decode_text, parse_records
from llmkit.formats.parquet import is_parquet, read_parquet
from llmkit.formats.streams import input_name, is_stream, open_input
from llmkit.formats.text_blocks import read_blocks
from llmkit.tokens.parts import cut_parts
from llmkit.tokens.reservoir import Part


@dataclass
class SourceTotals:
    """What has come from one source."""

    documents: int = 0
    bytes: int = 0


@dataclass
class Reading:
    """What has been read so far, by source."""

    sources: dict[str, SourceTotals] = field(default_factory=dict)
    bytes: int = 0
    streams: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of the text that came on stdin or from a pipe, once it has been read to its end."""

    @property
    def documents(self) -> int:
        """Of all sources."""
        return sum(totals.documents for totals in self.sources.values())

    def count(self, source: str, texts: Iterable[str]) -> Iterator[Part]:
        """The parts of one document of a source, counted as they pass."""
        totals = self.sources.setdefault(source, SourceTotals())
        totals.documents += 1
        for text in texts:
            content = text.encode()
            totals.bytes += len(content)
            self.bytes += len(content)
            yield Part(content, source)


def read_parts(
    inputs: Iterable[Path], reading: Reading, *, text_field: str, on_bad: OnBad | None
) -> Iterator[Part]:
    """Parts of all documents, in order, in bounded memory.

    A part's source is the `source` of its jsonl record, or else the input as it was named: a folder is one
    source.

    Raises:
        MissingError: an input is not there.
        DataError: a malformed line, a record without text, or bytes that are not UTF-8; none with `on_bad`.
    """
    for given in inputs:
        for path in list_files([given]):
            with open_input(path) as stream:
                documents = _documents(path, stream, text_field, on_bad)
                parts = (
                    part
                    for source, texts in documents
                    for part in reading.count(source or input_name(given), texts)
                )
                if is_stream(path):
                    digest = hashlib.sha256()
                    for part in parts:
                        digest.update(part.content)
                        yield part
                    reading.streams[input_name(path)] = digest.hexdigest()
                else:
                    yield from parts


def is_compressed(path: Path) -> bool:
    """Whether a file holds more bytes than its size says."""
    with path.open("rb") as raw, open_input(path) as stream:
        return stream.read(4) != raw.read(4)


def _documents(
    path: Path, stream: BinaryIO, text_field: str, on_bad: OnBad | None
) -> Iterator[tuple[str | None, Iterable[str]]]:
    """The documents of a file: the source that a record names, and its text in parts."""
    kind, stream = kind_of_input(path, stream)
    if is_parquet(path):
        lines = read_parquet(path, text_field=text_field, on_bad=on_bad)
    elif kind == "jsonl":
        lines = parse_records(stream, input_name(path), on_bad=on_bad)
    else:
        yield None, cut_parts(read_blocks(stream, input_name(path), on_bad=on_bad))
        return
    for line in lines:
        try:
            text = decode_text(line, text_field)
            source = _source_of(line)
        except DataError as error:
            if on_bad is None:
                raise
            on_bad(line.bad(error))
        else:
            yield source, cut_parts([text])


def _source_of(line: Line) -> str | None:
    """The record's source, where it is text."""
    value = line.record.get("source")
    if value is None or not bytes(value).startswith(b'"'):
        return None
    source: str = decode_field(line, "source", str)
    return source
