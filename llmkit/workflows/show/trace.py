"""Where a document went: the files it stands in, what each stage said of it, the rows it was put in.

llmkit show docs.jsonl clean rejects.jsonl mixed shards --trace ID
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from llmkit.errors import DataError, GateFailed
from llmkit.formats.digest import content_id, digest_bytes
from llmkit.formats.documents import list_files
from llmkit.formats.jsonl import Record, decode_value, parse_line
from llmkit.text.history import history_of, origin_of
from llmkit.workflows.artefact import SHARD_INDEX
from llmkit.workflows.clean.input import Entry, read_batches
from llmkit.workflows.show.rows import TraceReport, trace_document
from llmkit.workflows.units import Piece

Relation = Literal["itself", "chunk", "duplicate"]
"""`chunk`: a part that `tokenize` cut it into; `duplicate`: was dropped for it."""
_PLAIN = re.compile(r"[A-Za-z0-9_.:# -]+")
"""What JSON writes as it is; anything else has several spellings."""
_CONTENT_ID = re.compile(r"[0-9a-f]{16}")
"""May be that of a record in which it does not stand."""


class Sighting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record that is the document, or comes from it, or was dropped for it."""

    schema: str
    path: str
    """As it was given: a file or a folder."""
    file: str
    line: int
    """0 where the file is one document."""
    id: str
    relation: Relation
    source: str | None = None
    license: str | None = None
    epoch: int | None = None
    text_bytes: int | None = None
    text_sha256: str | None = None
    tokens: int | None = None
    history: list[Any] = []
    reject: dict[str, Any] | None = None
    """Why a stage has dropped it."""


Found = Sighting | TraceReport


def trace(paths: Iterable[Path], identity: str) -> list[Found]:
    """Everything that is known of a document, in the order of the paths.

    Args:
        paths: documents, token documents, rejects, folders of them, shard folders.
        identity: an id; that of a document without one is the digest that every stage gives it.

    Raises:
        GateFailed: it is in none of them.
        MissingError, DataError: of the readers.
    """
    given = list(paths)
    found: list[Found] = []
    for path in given:
        if (path / SHARD_INDEX).is_file():
            found += _in_shards(path, identity, is_alone=len(given) == 1)
        else:
            found += _in_documents(path, identity)
    if not found:
        where = ", ".join(map(str, given))
        raise GateFailed(
            f"{where}: no document with id {identity!r}", hint=f"llmkit show {given[0]} says what is there"
        )
    return found


def _in_shards(path: Path, identity: str, *, is_alone: bool) -> list[TraceReport]:
    try:
        return trace_document(path, identity)
    except GateFailed:
        if is_alone:
            raise
        return []


def _in_documents(path: Path, identity: str) -> Iterator[Sighting]:
    has_one_spelling = _PLAIN.fullmatch(identity) and not _CONTENT_ID.fullmatch(identity)
    needle = identity.encode() if has_one_spelling else b""
    for batch in read_batches([Piece(str(file)) for file in list_files([path])], skips_bad=True):
        for entry in batch:
            if needle in entry.content:
                try:
                    sighting = _seen(path, entry, identity)
                except DataError:
                    continue
                if sighting is not None:
                    yield sighting


def _seen(path: Path, entry: Entry, identity: str) -> Sighting | None:
    """What a record says of the document; None where it is about another.

    Raises:
        DataError: it is malformed.
    """
    if entry.problem is not None:
        return None
    record = parse_line(entry.content, entry.file, entry.line).record
    text = _value(record, "text", str)
    own = _id_of(record, text)
    why = _value(record, "_reject", dict)
    if own == identity:
        relation: Relation = "itself"
    elif _value(record, "parent", str) == identity:
        relation = "chunk"
    elif why is not None and why.get("dup_of") == identity:
        relation = "duplicate"
    else:
        return None
    tokens = _value(record, "tokens", list)
    content = None if text is None else text.encode(errors="surrogatepass")
    return Sighting(
        schema="llmkit.show-sighting/1",
        path=str(path),
        file=entry.file,
        line=entry.line,
        id=own or "",
        relation=relation,
        text_bytes=None if content is None else len(content),
        text_sha256=None if content is None else digest_bytes(content),
        tokens=None if tokens is None else len(tokens),
        history=history_of(record),
        reject=why,
        **origin_of(record),
    )


def _id_of(record: Record, text: str | None) -> str | None:
    """The id of a record, or the one that it would be given."""
    value = record.get("id")
    if value is None or bytes(value) == b"null":
        return None if text is None else content_id(text)
    found = decode_value(value)
    return found if isinstance(found, str) else bytes(value).decode()


def _value(record: Record, key: str, kind: Any) -> Any:
    """The value at a key, where it is of that kind."""
    if key not in record:
        return None
    found = decode_value(record[key])
    return found if isinstance(found, kind) else None
