"""JSON lines: one object a line, unknown keys carried through byte for byte.

A record is `dict[str, Raw]`: keys in their order, values still undecoded JSON. Only what a command needs is
decoded, so numbers, escapes and key order of everything else come out as they went in.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import msgspec
from msgspec import Raw

from llmkit.errors import DataError, LlmkitError
from llmkit.formats.json_text import encode_json
from llmkit.formats.not_utf8 import not_utf8, utf8_hint
from llmkit.formats.streams import input_name, open_input

_Parsed = TypeVar("_Parsed")
Record = dict[str, Raw]
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # what some programs put before UTF-8
_PASS_OVER = "or pass over bad lines with --skip-bad"
MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What is wrong with JSON: also bytes that are not UTF-8 in a string, and lists in lists without end."""

_decode_record = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_array = msgspec.json.Decoder(list[dict[str, Raw]]).decode


class Line(msgspec.Struct, frozen=True):
    """One record and where it stood, for error messages and rejects."""

    record: Record
    file: str
    number: int

    @property
    def where(self) -> str:
        """`file:line`, as compilers write it."""
        return f"{self.file}:{self.number}"

    def bad(self, error: LlmkitError) -> "BadLine":
        """The record as JSON, and what an error says of it."""
        return BadLine.of(error, msgspec.json.encode(self.record), self.file, self.number)


class BadLine(msgspec.Struct, frozen=True):
    """A line that is not a JSON object: the bytes as they stood, and what is wrong with them."""

    content: bytes
    file: str
    number: int
    problem: str

    @classmethod
    def of(cls, error: LlmkitError, content: bytes, file: str, number: int) -> "BadLine":
        """A line and what an error says of it, without the place, which is told beside it."""
        return cls(content, file, number, error.problem.removeprefix(f"{file}:{number}: "))


OnBad = Callable[[BadLine], None]
"""Is given each line that cannot be used, which is then passed over."""


def read_records(
    path: Path,
    *,
    name: str | None = None,
    on_bad: OnBad | None = None,
    array_key: str | None = None,
) -> Iterator[Line]:
    """Read a .jsonl file (plain, zstd or gzip) or stdin (`-`), a record at a time; blank lines are skipped.

    Args:
        path: the file, or `-`.
        name: what it is called; None: by its path.
        on_bad: called with each malformed line, which is then skipped. None: a malformed line is an error.
        array_key: see `parse_line`.

    Raises:
        DataError: a line is not a JSON object and `on_bad` is None.
    """
    with open_input(path) as stream:
        yield from parse_records(stream, name or input_name(path), on_bad=on_bad, array_key=array_key)


def parse_records(
    stream: BinaryIO, name: str, *, on_bad: OnBad | None = None, array_key: str | None = None
) -> Iterator[Line]:
    """The records of an open stream called `name`; see `read_records`."""
    return parse_lines(stream, name, partial(parse_line, array_key=array_key), on_bad)


def parse_lines(
    stream: BinaryIO, name: str, parse: Callable[[bytes, str, int], _Parsed], on_bad: OnBad | None
) -> Iterator[_Parsed]:
    """What `parse` makes of each line: content, name, number. Blank and bad lines as in `read_records`."""
    for number, content in number_lines(stream):
        if not content or content.isspace():
            continue
        try:
            parsed = parse(content, name, number)
        except DataError as error:
            if on_bad is None:
                raise
            on_bad(BadLine.of(error, content, name, number))
        else:
            yield parsed


def number_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines of an open stream from 1, without a byte order mark before the first."""
    for number, content in enumerate(stream, 1):
        yield number, content.removeprefix(BYTE_ORDER_MARK) if number == 1 else content


def parse_line(
    content: bytes, name: str, number: int, *, array_key: str | None = None, is_utf_8: bool = False
) -> Line:
    """One record, from line `number` of the input called `name`.

    Args:
        content: the line.
        name, number: where it stands.
        array_key: a line that is an array of objects is a record with it at this key; None: it is none.
        is_utf_8: whether that is known already.

    Raises:
        DataError: the line is not a JSON object, or not UTF-8.
    """
    try:
        if not is_utf_8:
            check_utf_8(content)
        if array_key is not None and content.lstrip().startswith(b"["):
            _decode_array(content)
            return Line({array_key: Raw(content.strip())}, name, number)
        return Line(_decode_record(content), name, number)
    except UnicodeDecodeError as error:
        hint = utf8_hint(name, content if number <= 1 else b"")
        raise DataError(
            f"{name}:{number}: {not_utf8(error, ' of the line')}",
            hint=f"{hint}, {_PASS_OVER}",
        ) from None
    except MALFORMED as error:
        raise DataError(
            f"{name}:{number}: {_describe(content, error)}",
            hint=f"mend the line, {_PASS_OVER}",
        ) from None


def check_utf_8(content: bytes) -> None:
    """Look at all of a line: msgspec looks only at the strings that it decodes, and others are written on.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    if not content.isascii():
        content.decode()


def encode_line(record: Any) -> bytes:
    """A record (or any JSON-able value) as a line of JSON, newline included; NaN and infinity become null."""
    return encode_json(record) + b"\n"


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
            f'{line.where}: "{key}": {_cause(error)}',
            hint=f"found {bytes(raw)[:60].decode(errors='replace')}",
        ) from None


def decode_text(line: Line, key: str) -> str:
    """The text of a document, at the key that --field names.

    Raises:
        DataError: as `decode_field`; the hint names the longest string that the record has, if any, or where
            the key has no string (null, in many a corpus) how to pass over it.
    """
    try:
        return str(decode_field(line, key, str))
    except DataError as error:
        values = {name: bytes(value) for name, value in line.record.items()}
        if key in values:
            raise DataError(error.problem, hint=f"{error.hint}: mend the line, {_PASS_OVER}") from None
        strings = {name: len(value) for name, value in values.items() if value.startswith(b'"')}
        strings.pop("id", None)
        if not strings:
            raise
        other = max(strings, key=strings.__getitem__)
        hint = (
            f"if the text is at {other}: --field {other}, or jq -c '.{key} = .{other}' FILE | llmkit COMMAND"
        )
        raise DataError(error.problem, hint=hint) from None


def decode_value(content: Raw | bytes, kind: Any = Any) -> Any:
    """A value by itself, decoded.

    Raises:
        DataError: it is no JSON, or of another type; where it stands is for the caller to say.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except MALFORMED as error:
        start = bytes(content)[:60].decode(errors="replace")
        raise DataError(f"{_cause(error)} (found: {start})", hint="mend the line") from None


class Placed(Protocol):
    """A record, and where it stands."""

    @property
    def record(self) -> Record:
        """Its values by key, not decoded."""

    @property
    def where(self) -> str:
        """`file:line`, for errors."""


def decode_all(line: Placed) -> dict[str, Any]:
    """All values of a record, decoded.

    Raises:
        DataError: one of them is no JSON.
    """
    try:
        return {key: msgspec.json.decode(value) for key, value in line.record.items()}
    except MALFORMED as error:
        raise DataError(f"{line.where}: {_cause(error)}", hint="mend the line") from None


def record_id(line: Line) -> str | None:
    """The record's `id` as text, anything but text as it is written; None where it has none.

    Raises:
        DataError: it is not UTF-8.
    """
    value = line.record.get("id")
    if value is None or bytes(value) == b"null":
        return None
    if bytes(value).startswith(b'"'):
        return decode_field(line, "id", str)
    try:
        return bytes(value).decode()
    except UnicodeDecodeError as error:
        raise DataError(f'{line.where}: "id": {error}', hint="mend the line") from None


def with_id(record: Record, identity: str) -> Record:
    """The record with an id, which is put first where it has none, or null."""
    if bytes(record.get("id", b"null")) != b"null":
        return record
    return {"id": raw(identity), **{key: value for key, value in record.items() if key != "id"}}


def raw(value: Any) -> Raw:
    """A value encoded, ready to be put into a record."""
    return Raw(encode_json(value))


def _describe(content: bytes, error: Exception) -> str:
    start = content.strip()[:40].decode(errors="replace")
    cause = None if isinstance(error, msgspec.ValidationError) else _python_only(content)
    return f"not a JSON object: {cause or _cause(error)} (found: {start})"


def _python_only(content: bytes) -> str | None:
    """Which of the two things a line has that Python's `json` writes and that are no JSON; None: neither."""
    import json  # only here, where something is wrong

    constants: list[str] = []
    try:
        value = json.loads(content, parse_constant=constants.append)
        if constants:
            return f"JSON has no {constants[0]}"
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return f"\\u{ord(error.object[error.start]):04x} is half of a surrogate pair, and no character"
    except (ValueError, RecursionError):
        pass
    return None


def _cause(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
