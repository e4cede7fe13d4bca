"""A shard as it is written: the same bytes whatever the workers, read by any program, whole or absent."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llmkit.formats.seekable import SeekableReader
from llmkit.formats.shards import ShardEntry

ROWS = np.random.default_rng(0).integers(0, 100, (300, 1025)).astype(np.uint32)


def test_workers_do_not_change_a_byte(make_shard: Callable[..., ShardEntry], tmp_path: Path) -> None:
    entries = [make_shard(tmp_path / str(count), ROWS, workers=count) for count in (1, 2, 7)]
    contents = {(tmp_path / str(count)).read_bytes() for count in (1, 2, 7)}
    assert len(contents) == 1
    assert {entry.sha256 for entry in entries} == {hashlib.sha256(contents.pop()).hexdigest()}
    assert (entries[0].rows, entries[0].tokens) == (300, ROWS.size)


@pytest.mark.parametrize("dtype", ["u2", "u4"])
def test_zstd_gives_the_ids_row_after_row(
    make_shard: Callable[..., ShardEntry], tmp_path: Path, dtype: str
) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("no zstd on this machine")
    make_shard(tmp_path / "s.tok.zst", ROWS, dtype=dtype)
    done = subprocess.run(["zstd", "-dc", tmp_path / "s.tok.zst"], capture_output=True, check=True)
    assert done.stdout == ROWS.astype(f"<{dtype}").tobytes()


def test_frames_hold_whole_rows_of_about_64_ki_tokens(
    make_shard: Callable[..., ShardEntry], tmp_path: Path
) -> None:
    make_shard(tmp_path / "s.tok.zst", ROWS)
    frames = [frame for frame in SeekableReader(tmp_path / "s.tok.zst").frames if frame.size]
    assert [frame.size // (2 * 1025) for frame in frames] == [63] * 4 + [48]  # 63 * 1025 = 64,575
    assert all(frame.size % (2 * 1025) == 0 for frame in frames)


def test_a_row_longer_than_a_frame_is_a_frame(make_shard: Callable[..., ShardEntry], tmp_path: Path) -> None:
    make_shard(tmp_path / "s.tok.zst", np.zeros((3, 70_001), np.uint32))
    frames = [frame for frame in SeekableReader(tmp_path / "s.tok.zst").frames if frame.size]
    assert [frame.size for frame in frames] == [140_002] * 3


def test_the_first_frame_is_the_header_as_json(make_shard: Callable[..., ShardEntry], tmp_path: Path) -> None:
    make_shard(tmp_path / "s.tok.zst", ROWS)
    content = (tmp_path / "s.tok.zst").read_bytes()
    assert content[:4] == bytes.fromhex("502a4d18")  # 0x184D2A50, little-endian
    header = json.loads(content[8 : 8 + int.from_bytes(content[4:8], "little")])
    assert header["schema"] == "llmkit.shards/1" and header["rows"] == 300 and header["seq_len"] == 1024


def test_an_error_while_rows_are_read_leaves_nothing(
    make_index: Callable[..., object], tmp_path: Path, make_shard: Callable[..., ShardEntry]
) -> None:
    with pytest.raises(TypeError):
        make_shard(tmp_path / "s.tok.zst", ROWS, rows="many")
    assert list(tmp_path.iterdir()) == []
