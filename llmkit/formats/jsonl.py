"""JSON lines: one object a line, unknown keys carried through byte for byte.

A record is `dict[str, Raw]`: keys in their order, values still undecoded JSON. Only what a command needs is
decoded, so numbers, escapes and key order of everything else come out as they went in.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Raw

from llmkit.errors import DataError
from llmkit.formats.streams import STDIO, open_input

Record = dict[str, Raw]
MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError)  # the second: bytes that are not UTF-8 inside a string

_decode_record = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct, frozen=True):
    """One record and where it stood, for error messages and rejects."""

    record: Record
    file: str
    number: int

    @property
    def where(self) -> str:
        """`file:line`, as compilers write it."""
        return f"{self.file}:{self.number}"


class BadLine(msgspec.Struct, frozen=True):
    """A line that is not a JSON object: the bytes as they stood, and what is wrong with them."""

    content: bytes
    file: str
    number: int
    problem: str


def read_records(path: Path, *, on_bad: Callable[[BadLine], None] | None = None) -> Iterator[Line]:
    """Read a .jsonl file (plain, zstd or gzip) or stdin (`-`), a record at a time; blank lines are skipped.

    Args:
        path: the file, or `-`.
        on_bad: called with each malformed line, which is then skipped. None: a malformed line is an error.

    Raises:
        DataError: a line is not a JSON object and `on_bad` is None.
    """
    with open_input(path) as stream:
        yield from parse_records(stream, "stdin" if path == STDIO else str(path), on_bad=on_bad)


def parse_records(
    stream: BinaryIO, name: str, *, on_bad: Callable[[BadLine], None] | None = None
) -> Iterator[Line]:
    """The records of an open stream called `name`; see `read_records`."""
    for number, content in enumerate(stream, 1):
        if content.isspace():
            continue
        try:
            line = parse_line(content, name, number)
        except DataError as error:
            if on_bad is None:
                raise
            on_bad(BadLine(content, name, number, error.problem.removeprefix(f"{name}:{number}: ")))
        else:
            yield line


def parse_line(content: bytes, name: str, number: int) -> Line:
    """One record, from line `number` of the input called `name`.

    Raises:
        DataError: the line is not a JSON object.
    """
    try:
        return Line(_decode_record(content), name, number)
    except MALFORMED as error:
        raise DataError(
            f"{name}:{number}: {_describe(content, error)}",
            hint="mend the line, or pass over bad lines with --skip-bad",
        ) from None


def encode_line(record: Any) -> bytes:
    """A record (or any JSON-able value) as a line of JSON, newline included; NaN and infinity become null."""
    return _encode(record) + b"\n"


def decode_field(line: Line, key: str, kind: Any) -> Any:
    """The value at `key`, decoded and checked to be of type `kind` (str, list[int], …).

    Raises:
        DataError: the key is absent or holds another type; the message names the keys that are there.
    """
    raw = line.record.get(key)
    if raw is None:
        found = ", ".join(line.record) or "no keys at all"
        raise DataError(f'{line.where}: no "{key}" field (found: {found})', hint=f"every line needs {key!r}")
    try:
        return msgspec.json.decode(raw, type=kind)
    except MALFORMED as error:
        raise DataError(
            f'{line.where}: "{key}": {error}', hint=f"found {bytes(raw)[:60].decode(errors='replace')}"
        ) from None


def record_id(line: Line) -> str | None:
    """The record's `id` as text, a number as it is written; None where it has none."""
    value = line.record.get("id")
    if value is None:
        return None
    return decode_field(line, "id", str) if bytes(value).startswith(b'"') else bytes(value).decode()


def raw(value: Any) -> Raw:
    """A value encoded, ready to be put into a record."""
    return Raw(_encode(value))


def _describe(content: bytes, error: Exception) -> str:
    start = content.strip()[:40].decode(errors="replace")
    return f"not a JSON object: {error} (found: {start})"
