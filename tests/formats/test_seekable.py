"""The seekable zstd format, against its page and two readers that are not ours: pyzstd and zstd."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
import pyzstd
import xxhash
import zstandard

from llmkit.errors import DataError
from llmkit.formats.seekable import SeekableReader, SeekableWriter, compress_frame

PARTS = [b"abc" * 1000, b"", b"x", bytes(range(256)) * 40]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A header, four frames, a note."""
    path = tmp_path / "file.zst"
    with path.open("wb") as stream:
        writer = SeekableWriter(stream)
        writer.skippable(b"header")
        for part in PARTS:
            writer.frame(compress_frame(part), part)
        writer.skippable(b"note", kind=1)
        writer.finish()
    return path


def test_each_frame_can_be_read_by_itself(file: Path) -> None:
    reader = SeekableReader(file)
    assert reader.skippable(reader.frames[0]) == (0, b"header")
    assert [reader.read(frame) for frame in reversed(reader.frames[1:5])] == PARTS[::-1]
    assert reader.skippable(reader.frames[5]) == (1, b"note")


def test_the_table_is_laid_out_as_the_format_says(file: Path) -> None:
    content = file.read_bytes()
    count, descriptor, magic = struct.unpack("<IBI", content[-9:])
    assert (count, descriptor, magic) == (6, 0x80, 0x8F92EAB1)
    table = content[-9 - 12 * count :]
    assert content[-9 - 12 * count - 8 :][:8] == struct.pack("<II", 0x184D2A5E, len(table))
    entries = list(struct.iter_unpack("<III", table[:-9]))
    assert [size for _, size, _ in entries] == [0, *map(len, PARTS), 0]
    assert sum(compressed for compressed, _, _ in entries) + len(table) + 8 == len(content)
    assert entries[1][2] == xxhash.xxh64(PARTS[0]).intdigest() & 0xFFFFFFFF


def test_pyzstd_seeks_in_it(file: Path) -> None:
    with pyzstd.SeekableZstdFile(file, "r") as stream:
        assert stream.read() == b"".join(PARTS)
        stream.seek(len(PARTS[0]) + 1)
        assert stream.read(3) == PARTS[3][:3]


def test_the_zstd_program_and_zstandard_read_it_as_one_stream(file: Path) -> None:
    with file.open("rb") as stream:
        reader = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
        assert reader.read() == b"".join(PARTS)
    if shutil.which("zstd") is None:
        pytest.skip("no zstd on this machine")
    assert subprocess.run(["zstd", "-dc", file], capture_output=True).stdout == b"".join(PARTS)


def test_damage_is_found_in_its_frame_and_in_no_other(file: Path) -> None:
    frames = SeekableReader(file).frames
    content = bytearray(file.read_bytes())
    content[frames[4].offset + 20] ^= 1
    file.write_bytes(content)
    reader = SeekableReader(file)
    assert reader.read(frames[1]) == PARTS[0]
    with pytest.raises(DataError, match=f"the frame at byte {frames[4].offset}"):
        reader.read(frames[4])


def test_content_that_only_the_table_knows_to_be_wrong_fails_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "file.zst"
    with path.open("wb") as stream:
        writer = SeekableWriter(stream)
        writer.frame(compress_frame(b"abd"), b"abc")
        writer.finish()
    reader = SeekableReader(path)
    with pytest.raises(DataError, match="checksum"):
        reader.read(reader.frames[0])


@pytest.mark.parametrize("cut", [1, 9, 40, 200])
def test_a_truncated_file_has_no_table(file: Path, cut: int) -> None:
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(DataError, match=r"truncated, or not a seekable zstd file"):
        SeekableReader(file)


def test_a_table_that_does_not_add_up_is_refused(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(b"more" + content)
    with pytest.raises(DataError, match="does not add up"):
        SeekableReader(file)
    file.write_bytes(content[:-9] + struct.pack("<IBI", 10_000, 0x80, 0x8F92EAB1))
    with pytest.raises(DataError, match="longer than the file"):
        SeekableReader(file)
    file.write_bytes(content[:-9] + struct.pack("<IBI", 6, 0, 0x8F92EAB1))
    with pytest.raises(DataError, match="no checksums"):
        SeekableReader(file)
