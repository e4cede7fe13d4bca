"""Documents: jsonl records with a `text`, or plain files, one document each.

{"id"?: str, "text": str, ...}      .jsonl, .jsonl.zst, .jsonl.gz; every other key passes through
the same                             .json, an unknown suffix or none, where it begins so: see `file_kind`
rows of parquet, of Arrow            .parquet, .pq, .arrow; the same object as a record
anything else                        .txt, .md, source code: the file is one document, its path the id
a folder                             its files but llmkit.json, hidden ones and those by which `datasets`
                                     describes its rows, sorted by relative paths
-                                    stdin: jsonl when it starts with {, one plain document otherwise
a pipe, /dev/stdin                   as stdin is
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from llmkit.errors import DataError, MissingError, as_word
from llmkit.formats.digest import content_id
from llmkit.formats.file_kind import is_json_lines, kind_of_input
from llmkit.formats.json_text import printable
from llmkit.formats.jsonl import (
    BYTE_ORDER_MARK,
    BadLine,
    Line,
    OnBad,
    Record,
    decode_text,
    parse_records,
    record_id,
)
from llmkit.formats.not_utf8 import not_utf8, utf8_hint
from llmkit.formats.parquet import is_parquet, read_parquet
from llmkit.formats.provenance import FILE_NAME as PROVENANCE
from llmkit.formats.streams import STDIO, input_name, is_stream, no_such_input, open_input

_OF_DATASETS = {"dataset_info.json", "dataset_dict.json"}
"""What `datasets` writes beside its rows, with a state.json."""


@dataclass(frozen=True)
class Document:
    """A text with its name. `record` is the jsonl object it came from, empty for plain files."""

    id: str
    text: str
    file: str
    line: int
    record: Record = field(default_factory=dict)

    @property
    def where(self) -> str:
        """`file:line` for a jsonl record, the file for a plain one."""
        return f"{self.file}:{self.line}" if self.line else self.file


def list_files(paths: Iterable[Path]) -> list[Path]:
    """Expand folders into their documents, sorted (nothing hidden, no llmkit.json); other paths stay.

    Raises:
        MissingError: a path does not exist, a folder holds no file, or a link in it leads to nothing.
        OSError: a folder in a folder may not be read.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(_files_inside(path))
            if not inside:
                raise MissingError(
                    f"{path}: no files in this folder", hint="name a folder or file with text in it"
                )
            files.extend(inside)
        elif path == STDIO or path.exists():
            files.append(path)
        else:
            raise no_such_input(path)
    return files


def read_documents(
    paths: Iterable[Path],
    *,
    text_field: str = "text",
    on_bad: OnBad | None = None,
    document_from: Callable[[Line, str], Document] | None = None,
) -> Iterator[Document]:
    """Read documents from files, folders and stdin, in order, one at a time.

    Args:
        paths: what to read; see the module's table.
        text_field: the key that holds the text in jsonl records.
        on_bad: called with each malformed line or plain file, which is then skipped; None: it is an error.
        document_from: makes the document of a jsonl record; `document_of` unless given.

    Raises:
        MissingError: a path does not exist; parquet without pyarrow.
        DataError: a malformed line, a record without text, or bytes that are not UTF-8; and whatever `on_bad`
            is, a file that is one JSON array.
        UsageError: parquet on stdin.
    """
    for path in list_files(paths):
        if is_parquet(path):
            rows = read_parquet(path, text_field=text_field, on_bad=on_bad)
            yield from _from_records(rows, text_field, on_bad, document_from or document_of)
            continue
        name = input_name(path)
        with open_input(path) as stream:
            kind, stream = kind_of_input(path, stream)  # a file of nothing is a document without text
            if kind == "empty":
                continue
            if kind == "jsonl":
                lines = parse_records(stream, name, on_bad=on_bad)
                yield from _from_records(lines, text_field, on_bad, document_from or document_of)
            else:
                text = _decode(stream.read(), name, on_bad)
                if text is not None:
                    identity = content_id(text) if is_stream(path) else printable(name)
                    yield Document(identity, text, file=name, line=0)


def in_batches(
    documents: Iterable[Document], characters: int, most: int | None = None
) -> Iterator[list[Document]]:
    """Documents that are worked at together: as many as have so many characters, and `most` of them."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if len(batch) == most or size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def names_file(given: str | None, *, is_words: bool = False) -> bool:
    """Whether a word on the command line is a file to read: there is one, or it is written like one.

    Args:
        given: the word, if there is one.
        is_words: whether it is a text in any case.

    Raises:
        MissingError: it is written like a file and is not there.
    """
    if given is None or is_words:
        return False
    path = Path(given)
    try:
        there = is_stream(path) or path.is_file()
    except OSError:  # a text longer than names can be
        return False
    if (
        not there
        and not any(one.isspace() for one in given)
        and (is_json_lines(path) or path.suffix == ".txt")
    ):
        raise MissingError(f"{given}: no such file", hint="check the path; other words are read as a text")
    return there


def document_of(line: Line, text_field: str = "text") -> Document:
    """The document in a jsonl record.

    Raises:
        DataError: no `text_field`, or it is not a string.
    """
    text = decode_text(line, text_field)
    identity = record_id(line)
    return Document(
        id=content_id(text) if identity is None else identity,
        text=text,
        file=line.file,
        line=line.number,
        record=line.record,
    )


def _from_records(
    lines: Iterable[Line],
    text_field: str,
    on_bad: OnBad | None,
    document_from: Callable[[Line, str], Document],
) -> Iterator[Document]:
    for line in lines:
        try:
            document = document_from(line, text_field)
        except DataError as error:
            if on_bad is None:
                raise
            on_bad(line.bad(error))
        else:
            yield document


def _decode(content: bytes, name: str, on_bad: OnBad | None) -> str | None:
    """A plain file's text; None where it is not UTF-8 and bad input is passed over."""
    try:
        return content.decode("utf-8-sig" if content.startswith(BYTE_ORDER_MARK) else "utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = not_utf8(error)
        if on_bad is None:
            raise DataError(f"{name}:{line}: {problem}", hint=utf8_hint(name, content)) from None
        on_bad(BadLine(content, name, line, problem))
        return None


def _files_inside(folder: Path) -> Iterator[Path]:
    """The files of a folder and of those in it but hidden ones, and the records of how they were made.

    A link to a file is that file; one to a folder is passed over, as by find: it may lead to where it stands.

    Raises:
        MissingError: a link leads to nothing, and what it stood for would be missing in silence.
    """
    for place, folders, names in os.walk(folder, onerror=_refuse):  # rglob passes over what it may not read
        folders[:] = [name for name in folders if not name.startswith(".")]
        ours = {PROVENANCE} if _OF_DATASETS.isdisjoint(names) else {PROVENANCE, "state.json", *_OF_DATASETS}
        files = (Path(place, name) for name in names if name not in ours and not name.startswith("."))
        for file in files:
            if file.is_file():
                yield file
            elif file.is_symlink() and not file.exists():
                raise MissingError(
                    f"{file}: a link to {file.readlink()}, and there is nothing",
                    hint=f"make the link again, or rm {as_word(file)}",
                )


def _refuse(error: OSError) -> None:
    raise error
