"""A plain text file, a block at a time: of any size, in bounded memory, checked to be UTF-8."""

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from llmkit.errors import DataError
from llmkit.formats.jsonl import BadLine, OnBad
from llmkit.formats.not_utf8 import utf8_hint

BLOCK_BYTES = 1 << 20
_BYTE_ORDER_MARK = "\ufeff"


def read_blocks(stream: BinaryIO, name: str, *, on_bad: OnBad | None = None) -> Iterator[str]:
    """The text of an open stream called `name`, in blocks of about a megabyte.

    Args:
        stream: bytes, decompressed.
        name: for messages.
        on_bad: called with each line that is not UTF-8, which is then left out; None: it is an error. Of a
            line that goes beyond its block only the part in the block is left out.

    Raises:
        DataError: bytes that are not UTF-8, and `on_bad` is None.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")  # bad bytes stay, to be named
    number, is_first = 1, True
    content = stream.read(BLOCK_BYTES)
    while content:
        following = stream.read(BLOCK_BYTES)
        text = decoder.decode(content, final=not following)
        if is_first and text:
            text, is_first = text.removeprefix(_BYTE_ORDER_MARK), False
        lines = text.count("\n")
        yield _checked(text, name, number, on_bad)
        number += lines
        content = following


def _checked(text: str, name: str, number: int, on_bad: OnBad | None) -> str:
    """The text without the lines that hold bad bytes; its first line is the file's line `number`."""
    while True:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            line = number + text.count("\n", 0, error.start)
            problem = f"not UTF-8 (found byte 0x{ord(text[error.start]) & 0xFF:02x})"
            if on_bad is None:
                head = text[:16].encode("utf-8", "surrogateescape") if number == 1 else b""
                raise DataError(
                    f"{name}:{line}: {problem}", hint=f"{utf8_hint(name, head)}, or --skip-bad"
                ) from None
            start = text.rfind("\n", 0, error.start) + 1
            end = text.find("\n", error.start) + 1 or len(text)
            on_bad(BadLine(text[start:end].encode("utf-8", "surrogateescape"), name, line, problem))
            text, number = text[:start] + text[end:], number + text.count("\n", start, end)
        else:
            return text
