"""Rows read back from shards: any order, every shard, and everything that can be wrong with a folder."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from llmkit.errors import DataError, MissingError
from llmkit.formats.shards import INDEX, Shard, ShardEntry, ShardFolder, read_index

RANDOM = np.random.default_rng(0)
FIRST = RANDOM.integers(0, 100, (200, 513)).astype(np.uint32)
SECOND = RANDOM.integers(0, 100, (37, 513)).astype(np.uint32)
ALL = np.concatenate([FIRST, SECOND])


@pytest.fixture
def folder(make_folder: Callable[..., Path], tmp_path: Path) -> Path:
    return make_folder(tmp_path / "shards", FIRST, SECOND)


def change_index(folder: Path, **fields: object) -> None:
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(index | fields))


@pytest.mark.parametrize("wanted", [range(237), [236, 0, 199, 200, 0], [], RANDOM.permutation(237)[:50]])
def test_rows_come_in_the_order_asked_for(folder: Path, wanted: list[int]) -> None:
    rows = ShardFolder.open(folder).read(list(wanted))
    assert np.array_equal(rows.tokens, ALL[list(wanted)])
    assert (rows.segments == 0).all() and rows.loss.all()


def test_a_row_that_is_not_there_is_an_index_error(folder: Path) -> None:
    for row in (-1, 237):
        with pytest.raises(IndexError):
            ShardFolder.open(folder).read([row])


def test_a_row_is_placed_in_its_shard(folder: Path) -> None:
    shards = ShardFolder.open(folder)
    assert [shards.place(row) for row in (0, 199, 200, 236)] == [(0, 0), (0, 199), (1, 0), (1, 36)]
    assert [shards.first_row(number) for number in (0, 1)] == [0, 200]


def test_threads_may_read_at_once(folder: Path) -> None:
    shards, wrong = ShardFolder.open(folder), []

    def read(seed: int) -> None:
        for row in np.random.default_rng(seed).integers(0, 237, 50):
            if not np.array_equal(shards.read([int(row)]).tokens[0], ALL[row]):
                wrong.append(row)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_sound_shards_have_no_problems(folder: Path) -> None:
    assert ShardFolder.open(folder).verify() == []


def test_a_flipped_bit_is_found_by_reading_its_frame_and_named_by_verify(folder: Path) -> None:
    file = folder / "shard-00000.tok.zst"
    frame = next(frame for frame in Shard(file).reader.frames if frame.size)
    content = bytearray(file.read_bytes())
    content[frame.offset + frame.compressed // 2] ^= 1
    file.write_bytes(content)
    shards = ShardFolder.open(folder)
    assert np.array_equal(shards.read([236]).tokens[0], ALL[236])
    with pytest.raises(DataError, match="shard-00000"):
        shards.read([0])
    problems = shards.verify()
    assert any("SHA-256" in one for one in problems) and any("frame at byte" in one for one in problems)


def test_an_id_beyond_the_vocabulary_is_named(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "s", FIRST, vocab_size=int(FIRST.max()))
    assert (
        ShardFolder.open(folder).verify()
        == [f"{folder / 'shard-00000.tok.zst'}: an id {FIRST.max()} beyond the vocabulary"]
        * Shard(folder / "shard-00000.tok.zst").num_frames
    )


def test_counts_that_differ_from_the_index_are_named(folder: Path) -> None:
    change_index(folder, tokens=5)
    assert [one.split(": ")[1] for one in ShardFolder.open(folder).verify()] == [
        f"index.json says 5 tokens, shards {ALL.size}"
    ]


def test_no_folder_and_no_index_and_no_shard_are_missing(folder: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(MissingError, match="no shard folder"):
            ShardFolder.open(path)
    (folder / "shard-00001.tok.zst").unlink()
    with pytest.raises(MissingError, match="no such shard"):
        ShardFolder.open(folder)


def test_a_damaged_index_is_bad_data(folder: Path) -> None:
    whole = (folder / INDEX).read_bytes()
    other = (whole.replace(b'"u2"', b'"f8"'), whole.replace(b'"u2"', b'"\xff2"'))
    for content in (b"{", b'{"schema": 1}', b"[]", *other):
        (folder / INDEX).write_bytes(content)
        with pytest.raises(DataError, match="damaged"):
            read_index(folder)


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"rows": 5}, "index.json says 5 rows"), ({"seq_len": 7}, "another"), ({"dtype": "u4"}, "another")],
)
def test_an_index_that_says_other_than_its_shards_is_bad_data(
    folder: Path, changed: dict[str, Any], told: str
) -> None:
    change_index(folder, **changed)
    with pytest.raises(DataError, match=told):
        ShardFolder.open(folder)


def test_a_cut_shard_is_found_when_the_folder_is_opened(folder: Path) -> None:
    file = folder / "shard-00001.tok.zst"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="truncated or changed"):
        ShardFolder.open(folder)


def test_a_shard_of_another_folder_is_refused(
    folder: Path, make_shard: Callable[..., ShardEntry], tmp_path: Path
) -> None:
    other = make_shard(folder / "shard-00001.tok.zst", SECOND, tokenizer_sha256="other")
    index = read_index(folder)
    entries = (index.shards[0], other)
    (folder / INDEX).write_bytes(msgspec.json.encode(msgspec.structs.replace(index, shards=entries)))
    with pytest.raises(DataError, match=r"belongs to another index\.json"):
        ShardFolder.open(folder)


def test_a_header_that_does_not_fit_the_ids_is_refused(
    make_shard: Callable[..., ShardEntry], tmp_path: Path
) -> None:
    path = tmp_path / "s.tok.zst"
    make_shard(path, FIRST, seq_len=511)
    with pytest.raises(DataError, match="bytes of ids"):
        Shard(path)


def test_a_seekable_file_of_something_else_is_no_shard(tmp_path: Path) -> None:
    from llmkit.formats.seekable import SeekableWriter, compress_frame

    for name, header in (("none", None), ("other", b'{"a": 1}')):
        path = tmp_path / name
        with path.open("wb") as stream:
            writer = SeekableWriter(stream)
            if header is not None:
                writer.skippable(header)
            writer.frame(compress_frame(b"abc"), b"abc")
            writer.skippable(b"", 1)
            writer.finish()
        with pytest.raises(DataError, match="not a shard of rows"):
            Shard(path)
