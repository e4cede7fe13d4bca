"""What stdin or a pipe holds, told by its first bytes: it has no name that would say."""

from typing import BinaryIO, Literal

from llmkit.errors import DataError, UsageError
from llmkit.formats.json_array import array_error, begins_array, may_begin_array
from llmkit.formats.jsonl import BYTE_ORDER_MARK
from llmkit.formats.magic import HTML_HEAD_BYTES, PARQUET, WARC, begins_html
from llmkit.formats.streams import look_ahead

StdinKind = Literal["jsonl", "text", "blank", "empty"]
PipedKind = StdinKind | Literal["warc", "html"]


def kind_of_stdin(stream: BinaryIO) -> tuple[StdinKind, BinaryIO]:
    """As `kind_of_pipe`, for who reads no pages.

    Raises:
        UsageError, DataError: as `kind_of_pipe` does; it is WARC.
    """
    kind, whole = kind_of_pipe(stream)
    if kind == "warc":
        raise warc_error("stdin", "-")
    return "text" if kind == "html" else kind, whole


def warc_error(where: str, told: str) -> DataError:
    """Of a WARC file where texts are read.

    Args:
        where: it was found.
        told: what `clean` would be given.
    """
    return DataError(
        f"{where}: a WARC file: pages in their envelopes, no text",
        hint=f"llmkit clean {told} makes documents of its pages",
    )


def kind_of_pipe(stream: BinaryIO) -> tuple[PipedKind, BinaryIO]:
    """jsonl where it begins with a brace, WARC by its own first word, HTML by its doctype or outermost tags,
    else text; and a stream that still has what was looked at.

    Raises:
        UsageError: it is parquet.
        DataError: it is one JSON array of records.
    """
    start, whole = look_ahead(stream, _tells_kind)
    if start.startswith(PARQUET):
        raise UsageError("stdin: parquet cannot be piped, its index is at the end", hint="name the file")
    if start.startswith(WARC):
        return "warc", whole
    if not start:
        return "empty", whole
    start = start.removeprefix(BYTE_ORDER_MARK).lstrip()
    if not start:
        return "blank", whole
    if begins_array(start):
        raise array_error(None)
    if begins_html(start):
        return "html", whole
    return "jsonl" if start.startswith(b"{") else "text", whole


def _tells_kind(start: bytes) -> bool:
    """Whether some first bytes are more than the beginning of what stands before the first word."""
    if any(one.startswith(start) for one in (BYTE_ORDER_MARK, PARQUET, WARC)):
        return start in (PARQUET, WARC)
    word = start.removeprefix(BYTE_ORDER_MARK).lstrip()
    if word.startswith(b"<"):
        return b">" in word or len(word) >= HTML_HEAD_BYTES
    return bool(word) and not may_begin_array(word)
