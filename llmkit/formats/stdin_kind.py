"""What stdin holds, told by its first bytes: it has no name that would say."""

import io
from typing import BinaryIO, Literal, cast

from llmkit.errors import UsageError
from llmkit.formats.jsonl import BYTE_ORDER_MARK

StdinKind = Literal["jsonl", "text", "blank", "empty"]
_PARQUET = b"PAR1"


def kind_of_stdin(stream: BinaryIO) -> StdinKind:
    """jsonl where it begins with a brace, else text; as far as can be seen without reading it away.

    Raises:
        UsageError: it is parquet.
    """
    start = cast(io.BufferedReader, stream).peek(64)
    if start.startswith(_PARQUET):
        raise UsageError("stdin: parquet cannot be piped, its index is at the end", hint="name the file")
    if not start:
        return "empty"
    start = start.removeprefix(BYTE_ORDER_MARK).lstrip()
    if not start:
        return "blank"
    return "jsonl" if start.startswith(b"{") else "text"
