"""The zstd seekable format, version 0.1.0: independent frames, and a seek table with their checksums.

    skippable frames     anything, by kind 0 … 15 (magic 0x184D2A50 + kind)
    zstd frames          each decompresses on its own; together they are one plain zstd stream
    seek table           a skippable frame of kind 14: (compressed, decompressed, checksum) of each frame
                         before it, then count (u32), descriptor (u8), magic 0x8F92EAB1; all little-endian

The checksum is the low half of the XXH64 of what the frame decompresses to. Source: facebook/zstd,
contrib/seekable_format/zstd_seekable_compression_format.md.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import xxhash
import zstandard

from llmkit.errors import DataError

SKIPPABLE_MAGIC = 0x184D2A50
SEEK_TABLE_KIND = 14
SEEKABLE_MAGIC = 0x8F92EAB1
_CHECKSUM_FLAG = 0x80
_HEADER = struct.Struct("<II")
_ENTRY = struct.Struct("<III")
_FOOTER = struct.Struct("<IBI")


@dataclass(frozen=True)
class Frame:
    """One frame of a file. `size` is 0 for a skippable frame."""

    offset: int
    compressed: int
    size: int
    checksum: int


def compress_frame(content: bytes) -> bytes:
    """One independent zstd frame, with its size and a checksum of its content inside."""
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True, write_content_size=True)
    return compressor.compress(content)


def checksum(content: bytes) -> int:
    """The seek table's checksum of a frame's content."""
    return xxhash.xxh64_intdigest(content) & 0xFFFFFFFF


class SeekableWriter:
    """Writes frames to an open stream; `finish` adds the seek table."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._entries: list[bytes] = []

    def skippable(self, payload: bytes, kind: int = 0) -> None:
        """Add a frame that zstd passes over."""
        self._stream.write(_HEADER.pack(SKIPPABLE_MAGIC + kind, len(payload)) + payload)
        self._entries.append(_ENTRY.pack(len(payload) + _HEADER.size, 0, checksum(b"")))

    def frame(self, compressed: bytes, content: bytes) -> None:
        """Add a frame made by `compress_frame(content)`."""
        self._stream.write(compressed)
        self._entries.append(_ENTRY.pack(len(compressed), len(content), checksum(content)))

    def finish(self) -> None:
        """Write the seek table."""
        footer = _FOOTER.pack(len(self._entries), _CHECKSUM_FLAG, SEEKABLE_MAGIC)
        table = b"".join(self._entries) + footer
        self._stream.write(_HEADER.pack(SKIPPABLE_MAGIC + SEEK_TABLE_KIND, len(table)) + table)


class SeekableReader:
    """Random access to the frames of a seekable file, from any number of threads: it is opened for each read.

    Raises:
        DataError: no seek table (a truncated or foreign file), or one that does not fit the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file_bytes = path.stat().st_size
        self.frames = self._read_table()

    def raw(self, frame: Frame) -> bytes:
        """The bytes of a frame as they stand in the file."""
        return self._bytes(frame.offset, frame.compressed)

    def skippable(self, frame: Frame) -> tuple[int, bytes]:
        """Kind and payload of a skippable frame."""
        content = self.raw(frame)
        magic, size = _HEADER.unpack_from(content)
        if not 0 <= magic - SKIPPABLE_MAGIC < 16 or size != len(content) - _HEADER.size:
            raise self._damaged(f"no skippable frame at byte {frame.offset}")
        return magic - SKIPPABLE_MAGIC, content[_HEADER.size :]

    def read(self, frame: Frame) -> bytes:
        """What a frame decompresses to, checked against the seek table.

        Raises:
            DataError: the frame is damaged.
        """
        try:
            content = zstandard.ZstdDecompressor().decompress(self.raw(frame), max_output_size=frame.size)
        except zstandard.ZstdError as error:
            raise self._damaged(f"the frame at byte {frame.offset} is damaged ({error})") from None
        if len(content) != frame.size or checksum(content) != frame.checksum:
            raise self._damaged(f"the frame at byte {frame.offset} fails its checksum")
        return content

    def _read_table(self) -> list[Frame]:
        tail = self._tail(_FOOTER.size)
        count, descriptor, magic = _FOOTER.unpack(tail) if len(tail) == _FOOTER.size else (0, 0, 0)
        if magic != SEEKABLE_MAGIC:
            raise self._damaged("truncated, or not a seekable zstd file (no seek table at its end)")
        if not descriptor & _CHECKSUM_FLAG:
            raise self._damaged("its seek table has no checksums")
        table = self._tail(_HEADER.size + count * _ENTRY.size + _FOOTER.size)
        if len(table) < _HEADER.size + count * _ENTRY.size:
            raise self._damaged("its seek table is longer than the file")
        frames, offset = [], 0
        for compressed, size, expected in _ENTRY.iter_unpack(table[_HEADER.size : -_FOOTER.size]):
            frames.append(Frame(offset, compressed, size, expected))
            offset += compressed
        if offset + len(table) != self.file_bytes:
            raise self._damaged("its seek table does not add up to the file's length")
        return frames

    def _tail(self, count: int) -> bytes:
        return self._bytes(max(0, self.file_bytes - count), count)

    def _bytes(self, offset: int, count: int) -> bytes:
        with self.path.open("rb", buffering=0) as stream:
            stream.seek(offset)
            return stream.read(count)

    def _damaged(self, what: str) -> DataError:
        return DataError(f"{self.path}: {what}", hint="pack again, or fetch the file again")
