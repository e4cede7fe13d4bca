"""Shard folders told by their figures, and nothing called sound that is not."""

from pathlib import Path

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.formats.shards import ShardFolder
from llmkit.workflows.show.shards import show_shards, verify_shards


def test_a_folder_is_told_by_its_index_and_files(shards: Path) -> None:
    report, index = show_shards(shards), ShardFolder.open(shards).index
    assert (report.kind, report.documents, report.boundary) == ("shards", 5, "both")
    assert report.tokens + report.padding_tokens == report.rows * 64 == report.raw_bytes // 2
    assert report.size_bytes == sum(path.stat().st_size for path in shards.glob("*.tok.zst"))
    assert report.frames == len(report.shards) == len(list(shards.glob("*.tok.zst"))) > 1
    assert report.special_ids == {"bos": 0, "eos": 0} and report.seed is None
    assert report.text_bytes == index.bytes and report.bytes_per_token == index.bytes / index.tokens
    assert report.made_by == "llmkit pack"


def test_one_shard_is_told_by_its_own_header(shards: Path) -> None:
    file = shards / "shard-00001.tok.zst"
    report = show_shards(file)
    assert (report.kind, report.shards, report.made_by) == ("shard", [], None)
    assert report.size_bytes == file.stat().st_size
    assert report.rows == ShardFolder.open(shards).index.shards[1].rows


def test_sound_shards_are_verified_and_damaged_ones_are_bad_data(shards: Path) -> None:
    assert verify_shards(shards).rows == show_shards(shards).rows
    file = shards / "shard-00000.tok.zst"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"shard-00000\.tok\.zst.*, and \d+ more|shard-00000"):
        verify_shards(shards)


def test_only_a_folder_can_be_verified(shards: Path) -> None:
    with pytest.raises(UsageError, match="not a shard folder"):
        verify_shards(shards / "shard-00000.tok.zst")
