"""WARC (ISO 28500): the records of a web crawl that hold content, their HTTP envelope opened.

WARC/1.0 CRLF  name: value CRLF ...  CRLF  block of Content-Length bytes  CRLF CRLF      one record
response    an HTTP status line, headers, blank line and body; the body may be chunked and compressed
resource    a file without HTTP;  conversion: text made from a page (the .wet files of Common Crawl)

Requests, metadata, revisits and the like hold no content of their own and are passed over. A stream comes
from `open_input`, which reads members of gzip and frames of zstd one after the other.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llmkit.errors import DataError
from llmkit.formats.http_body import BodyError, decoded_body
from llmkit.formats.jsonl import BadLine, OnBad
from llmkit.formats.streams import plain_name

MAX_RECORD_BYTES = 64 << 20
CONTENT_KINDS = ("response", "resource", "conversion")
_LINE_BYTES = 1 << 16  # a header line beyond this is no header line
_VERSION = re.compile(rb"WARC/\d+\.\d+\s*\Z")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:+-]+)", re.IGNORECASE)
_SUFFIXES = (".warc", ".wet", ".arc.warc")


@dataclass(frozen=True)
class WarcRecord:
    """A record with content. `headers` are those of HTTP (of WARC where there is no HTTP), names in lower
    case; `payload` is the body with chunks joined and compression undone; `status` is None without HTTP."""

    kind: str
    id: str
    url: str
    date: str
    status: int | None
    headers: dict[str, str]
    content_type: str
    charset: str | None
    payload: bytes
    truncated: str
    number: int


def is_warc(path: Path) -> bool:
    """Whether a path's name says WARC (or WET), compressed or not."""
    return plain_name(path).endswith(_SUFFIXES)


def read_warc(
    stream: BinaryIO,
    name: str,
    *,
    max_record_bytes: int = MAX_RECORD_BYTES,
    on_bad: OnBad | None = None,
) -> Iterator[WarcRecord]:
    """The records with content of an open stream called `name`, in their order, one in memory at a time.

    Args:
        stream: bytes, decompressed.
        name: for messages.
        max_record_bytes: the most that a block, or what it inflates to, may take.
        on_bad: called with each bad record (its start, the number of the record), which is then passed over;
            None: it is an error.

    Raises:
        DataError: a record is malformed, cut short or too large, or its body does not decode.
    """
    number = 0
    while (found := _next_header(stream)) is not None:
        junk, headers = found
        if junk:
            _report(BadLine(junk, name, number + 1, "bytes between records that start no record"), on_bad)
        if headers is None:
            continue
        number += 1
        try:
            record = _read_record(stream, headers, number, max_record_bytes)
        except BodyError as error:
            _report(BadLine(_header_lines(headers), name, number, str(error)), on_bad)
        else:
            if record is not None:
                yield record


def _read_record(stream: BinaryIO, headers: dict[str, str], number: int, max_bytes: int) -> WarcRecord | None:
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        raise BodyError(f"no Content-Length (found: {length or 'none'})")
    size, kind = int(length), headers.get("warc-type", "").lower()
    if kind not in CONTENT_KINDS:
        _skip(stream, size)
        return None
    if size > max_bytes:
        _skip(stream, size)
        raise BodyError(f"a record of {size} bytes, more than {max_bytes}")
    block = stream.read(size)
    if len(block) < size:
        raise BodyError(f"cut short: {len(block)} of {size} bytes")
    return _opened(kind, headers, block, number, max_bytes)


def _opened(kind: str, headers: dict[str, str], block: bytes, number: int, max_bytes: int) -> WarcRecord:
    """The record of a block, out of its HTTP envelope where it has one."""
    status, inner, payload = None, headers, block
    if headers.get("content-type", "").lower().startswith("application/http"):
        status, inner, body = _split_http(block)
        payload = decoded_body(inner, body, max_bytes)
    content_type = inner.get("content-type", "")
    charset = _CHARSET.search(content_type)
    return WarcRecord(
        kind=kind,
        id=headers.get("warc-record-id", "").strip("<>"),
        url=headers.get("warc-target-uri", "").strip("<>"),
        date=headers.get("warc-date", ""),
        status=status,
        headers=inner,
        content_type=content_type.partition(";")[0].strip().lower(),
        charset=charset.group(1) if charset else None,
        payload=payload,
        truncated=headers.get("warc-truncated", ""),
        number=number,
    )


def _split_http(block: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an HTTP response."""
    end = re.search(rb"\r?\n\r?\n", block)
    head, body = (block, b"") if end is None else (block[: end.start()], block[end.end() :])
    first, *lines = head.splitlines() or [b""]
    words = first.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise BodyError(f"no HTTP status line (found: {first[:40].decode('latin-1')})")
    return int(words[1]), _fields(lines), body


def _next_header(stream: BinaryIO) -> tuple[bytes, dict[str, str] | None] | None:
    """The next record's fields, and what lay before it that is no record; None at the end of the stream."""
    junk = b""
    while line := stream.readline(_LINE_BYTES):
        if _VERSION.match(line):
            break
        if not line.isspace() and len(junk) < 200:  # enough to know it by
            junk += line[:200]
    else:
        return (junk, None) if junk else None
    lines = []
    while (line := stream.readline(_LINE_BYTES)) and not line.isspace():
        lines.append(line.rstrip(b"\r\n"))
    return junk, _fields(lines)


def _fields(lines: list[bytes]) -> dict[str, str]:
    """Header fields by their lower-case names, the first of a name; folded lines are joined."""
    fields: dict[str, str] = {}
    name = ""
    for line in lines:
        text = line.decode("utf-8", "replace")
        if text[:1] in " \t" and name:
            fields[name] = f"{fields[name]} {text.strip()}".strip()
            continue
        key, colon, value = text.partition(":")
        name = key.strip().lower() if colon else ""
        if name and name not in fields:
            fields[name] = value.strip()
        else:
            name = ""
    return fields


def _header_lines(headers: dict[str, str]) -> bytes:
    """A record's fields as text, to know it by in a report."""
    return "".join(f"{name}: {value}\n" for name, value in headers.items()).encode()


def _skip(stream: BinaryIO, size: int) -> None:
    while size > 0 and (content := stream.read(min(size, 1 << 20))):
        size -= len(content)


def _report(bad: BadLine, on_bad: OnBad | None) -> None:
    if on_bad is None:
        raise DataError(
            f"{bad.file}: record {bad.number}: {bad.problem}",
            hint="fetch the file again, or pass over bad records with --skip-bad",
        )
    on_bad(bad)
