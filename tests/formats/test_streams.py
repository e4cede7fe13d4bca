import gzip
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.jsonl import read_records
from llmkit.formats.streams import (
    STDIO,
    input_bytes,
    input_name,
    is_stream,
    open_input,
    open_output,
    require_inputs,
    would_wait,
)


class Dripping(io.RawIOBase):
    """A slow pipe: a byte at each read."""

    def __init__(self, content: bytes) -> None:
        self._content = iter(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        for byte in self._content:
            buffer[0] = byte
            return 1
        return 0


TEXT = "Straße, 東京, 🌍\n".encode() * 50_000


@pytest.mark.parametrize("tool", ["zstd -q", "gzip", "cat"])
def test_what_the_tools_compress_is_read_whatever_its_name(tmp_path: Path, tool: str) -> None:
    path = tmp_path / "no-suffix"
    path.write_bytes(subprocess.run(tool.split(), input=TEXT, capture_output=True, check=True).stdout)
    with open_input(path) as stream:
        assert stream.read() == TEXT


@pytest.mark.parametrize(
    ("suffix", "tool"),
    [
        *[(".zst", "zstd -dc"), (".gz", "gzip -dc"), (".txt", "cat")],
        *[(".zstd", "zstd -dc"), (".gzip", "gzip -dc"), (".ZST", "zstd -dc")],
    ],
)
def test_the_suffix_decides_how_a_file_is_written(tmp_path: Path, suffix: str, tool: str) -> None:
    path = tmp_path / f"out{suffix}"
    with open_output(path) as stream:
        stream.write(TEXT)
    content = path.read_bytes()
    assert subprocess.run(tool.split(), input=content, capture_output=True, check=True).stdout == TEXT


@pytest.mark.parametrize("suffix", [".zst", ".gz"])
def test_the_same_content_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        with open_output(tmp_path / f"{name}{suffix}") as stream:
            stream.write(TEXT)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_concatenated_and_skippable_frames_are_read_through(tmp_path: Path) -> None:
    frame = zstandard.ZstdCompressor().compress(b"one ")
    skippable = (0x184D2A50).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"JSON!"
    path = tmp_path / "frames.zst"
    path.write_bytes(skippable + frame + skippable + zstandard.ZstdCompressor().compress(b"two"))
    with open_input(path) as stream:
        assert stream.read() == b"one two"


@pytest.mark.parametrize("cut", [1, 100, 5000])
@pytest.mark.parametrize("suffix", [".zst", ".gz"])
def test_a_cut_stream_is_bad_data_not_a_short_file(tmp_path: Path, suffix: str, cut: int) -> None:
    import random

    path = tmp_path / f"x{suffix}"
    with open_output(path) as stream:
        stream.write(random.Random(0).randbytes(20_000))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=rf"x{suffix}: damaged or truncated"), open_input(path) as stream:
        stream.read()


@pytest.mark.parametrize("suffix", [".zst", ".zstd", ".gz", ".GZIP"])
@pytest.mark.parametrize(("kept", "what"), [(0, "it is empty"), (1, "it ends in its"), (2, "it ends in its")])
def test_a_file_that_is_called_compressed_and_has_nothing_was_cut_and_is_no_empty_corpus(
    tmp_path: Path, suffix: str, kept: int, what: str
) -> None:
    path = tmp_path / f"x.jsonl{suffix}"
    with open_output(path):
        pass
    assert list(read_records(path)) == []  # what llmkit writes of nothing is whole
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=rf"damaged or truncated compressed data \({what}") as caught:
        list(read_records(path))
    assert caught.value.hint == "fetch or write the file again"


def test_an_empty_file_of_another_name_is_empty(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").touch()
    assert list(read_records(tmp_path / "x.jsonl")) == []


def test_damage_inside_is_bad_data(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    content = bytearray(gzip.compress(TEXT))
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError), open_input(path) as stream:
        stream.read()


def test_an_absent_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"), open_input(tmp_path / "none"):
        pass
    with pytest.raises(DataError, match="is a folder"), open_input(tmp_path):
        pass


def test_a_closed_stdin_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(MissingError, match="stdin: it is closed"), open_input(STDIO):
        pass


def test_an_output_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with pytest.raises(UsageError), open_output(path):
        pass
    with pytest.raises(UsageError), open_output(path, force=True, inputs=[path]):
        pass
    assert path.read_bytes() == b"old"


def test_a_bomb_is_read_a_piece_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "zeros.zst"
    with open_output(path) as stream:
        for _ in range(64):
            stream.write(bytes(1 << 20))
    with open_input(path) as stream:
        assert stream.read(10) == bytes(10)


def test_stdin_would_wait_until_something_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, sender = os.pipe()
    with os.fdopen(receiver) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert would_wait(STDIO) and not would_wait(Path("rows.jsonl"))
        os.write(sender, b"x")
        assert not would_wait(STDIO)
        os.read(receiver, 1)
        assert would_wait(STDIO)
        os.close(sender)
        assert not would_wait(STDIO)  # its end has come
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x")))
    assert not would_wait(STDIO)


def test_whatever_byte_of_a_gzip_file_is_wrong_the_error_names_the_file(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(b"some text, more text, and more again " * 20, mtime=0))
    for place in range(10, len(content)):
        damaged = bytes([*content[:place], content[place] ^ 0xFF, *content[place + 1 :]])
        (tmp_path / "x.gz").write_bytes(damaged)
        with (
            pytest.raises(DataError, match=r"x\.gz: damaged or truncated"),
            open_input(tmp_path / "x.gz") as stream,
        ):
            stream.read()


@pytest.mark.parametrize("tool", ["zstd -q", "gzip", "cat"])
@pytest.mark.parametrize("content", [b"W", b"\x1f", b"P*text", "grüße\n".encode(), b""])
def test_a_slow_pipe_is_known_by_the_same_bytes(
    tool: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = subprocess.run(tool.split(), input=content, capture_output=True, check=True).stdout
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Dripping(sent))))
    with open_input(STDIO) as stream:
        assert stream.read() == content


def test_a_short_line_is_there_before_a_pipe_says_more(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, sender = os.pipe()
    with os.fdopen(receiver) as stdin, os.fdopen(sender, "wb", 0) as pipe:
        monkeypatch.setattr(sys, "stdin", stdin)
        pipe.write(b"a\n")
        with open_input(STDIO) as stream:
            assert stream.readline() == b"a\n"


def test_what_can_be_read_once_is_no_file_and_has_no_size(tmp_path: Path) -> None:
    file, pipe = tmp_path / "a.jsonl", tmp_path / "pipe"
    file.write_bytes(b"12345")
    os.mkfifo(pipe)
    streams = [STDIO, Path("/dev/stdin"), Path("/dev/fd/0"), Path("/dev/null"), pipe]
    assert [is_stream(path) for path in (*streams, file, tmp_path, tmp_path / "absent")] == [
        *[True] * 5,
        *[False] * 3,
    ]
    assert input_bytes([file, file]) == 10 and input_bytes([file, pipe]) is None


def test_errors_call_a_dash_stdin_and_any_other_input_by_its_path() -> None:
    names = [input_name(Path(one)) for one in ("-", "./-", "a/-", "/dev/stdin", "b.jsonl")]
    assert names == ["stdin", "stdin", "a/-", "/dev/stdin", "b.jsonl"]


def test_an_input_that_is_not_there_is_found_and_stdin_always_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    require_inputs([tmp_path / "a", STDIO])
    with pytest.raises(MissingError, match=r"b: no such file"):
        require_inputs([tmp_path / "a", tmp_path / "b"])
