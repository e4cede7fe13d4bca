"""The beginning of some input, from which a plan tells how much all of it is."""

from collections.abc import Iterable
from pathlib import Path

import zstandard

from llmkit.formats.documents import Document
from llmkit.formats.jsonl import encode_line
from llmkit.formats.parquet import is_parquet
from llmkit.formats.streams import compression_of

SAMPLE_BYTES = 1 << 20


def as_read(document: Document) -> bytes:
    """About the bytes that a document took in its file."""
    return encode_line(document.record) if document.record else document.text.encode()


class InputSample:
    """Lines up to a megabyte."""

    def __init__(self) -> None:
        self._bytes = 0
        self._is_full = False
        self._lines: list[bytes] = []

    def takes(self, line: bytes) -> bool:
        """Whether there was room before this line, about as it stands in its file."""
        self._is_full = self._bytes >= SAMPLE_BYTES
        if not self._is_full:
            self._lines.append(line)
            self._bytes += len(line)
        return not self._is_full

    def scale(self, inputs: Iterable[Path], input_bytes: int) -> float:
        """How many times the sample all the input is; 1 where the sample is all of it.

        Args:
            inputs: the files; where one is compressed, the sample counts by what it takes so.
            input_bytes: their sizes together.
        """
        if not self._is_full:
            return 1.0
        packed = any(is_parquet(path) or compression_of(path) for path in inputs)
        return max(1.0, input_bytes / (self._compressed_bytes() if packed else self._bytes))

    def _compressed_bytes(self) -> int:
        return len(zstandard.ZstdCompressor(level=3).compress(b"".join(self._lines)))
