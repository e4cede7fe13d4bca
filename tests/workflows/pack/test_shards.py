"""Shards of a spool: several where asked for, those that are there kept, the index adding up."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmkit.formats.shards import ShardFolder
from llmkit.formats.token_spool import TokenSpool
from llmkit.progress import SILENT
from llmkit.tokens.boundary import Markers
from llmkit.tokens.config import PackConfig
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.pack.input import PackJob
from llmkit.workflows.pack.shards import write_shards

NO_RUNS = np.empty((0, 2), np.int64)


def make(folder: Path, tokenizer: Path | None = None, **config: Any) -> tuple[TokenSpool, PackJob]:
    """A spool of 40 documents of 1 to 9 ids."""
    (folder / ".spool").mkdir(parents=True)
    spool = TokenSpool(folder / ".spool", "u4")
    for number in range(40):
        spool.add(np.arange(number % 9 + 1, dtype=np.uint32) + number, NO_RUNS, b"{}\n")
    spool.flush()
    settings = {"seq_len": 15, "shard_tokens": 64} | config
    loaded = None if tokenizer is None else load_tokenizer(tokenizer)
    job = PackJob(
        inputs=[], tokenizer=loaded, markers=Markers(), config=PackConfig(**settings), field="text", workers=2
    )
    return spool, job


def test_a_shard_ends_after_so_many_ids_and_the_index_adds_up(tmp_path: Path) -> None:
    spool, job = make(tmp_path / "out")
    with spool:
        index, cut = write_shards(tmp_path / "out", spool, job, SILENT)
    assert [entry.rows for entry in index.shards[:-1]] == [4] * (len(index.shards) - 1)  # 64 ids are 4 rows
    assert (sum(entry.tokens for entry in index.shards), index.documents, cut) == (index.tokens, 40, 0)
    folder = ShardFolder.open(tmp_path / "out")
    assert folder.index == index and folder.verify() == []
    assert [shard.header.documents for shard in folder.shards] == [
        len(set(shard.notes.documents.tolist())) for shard in folder.shards
    ]


def test_shards_that_are_there_are_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmkit.workflows.pack import shards as pack_shards

    spool, job = make(tmp_path / "out")
    written: list[str] = []
    original = pack_shards.write_shard

    def stop_at_third(path: Path, *args: Any, **settings: Any) -> Any:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path.name)
        return original(path, *args, **settings)

    monkeypatch.setattr(pack_shards, "write_shard", stop_at_third)
    with spool, pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path / "out", spool, job, SILENT)
    monkeypatch.setattr(pack_shards, "write_shard", original)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.zst")}
    write_shards(tmp_path / "out", spool, job, SILENT)
    assert len(before) == 2 and all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert ShardFolder.open(tmp_path / "out").verify() == []


def test_rows_are_padded_with_pad_else_eos_else_zero(tmp_path: Path, byte_level_dir: Path) -> None:
    spool, job = make(tmp_path / "out", byte_level_dir)
    with spool:
        index, _ = write_shards(tmp_path / "out", spool, job, SILENT)
    rows = ShardFolder.open(tmp_path / "out").read(range(index.rows))
    assert index.pad_id is None and index.eos_id == 0
    padding = rows.tokens[rows.segments == -1]
    assert len(padding) and (padding == 0).all()


def test_the_text_behind_the_ids_is_counted_in_bytes(tmp_path: Path, byte_level_dir: Path) -> None:
    spool, job = make(tmp_path / "out", byte_level_dir)
    assert job.tokenizer is not None
    with spool:
        index, _ = write_shards(tmp_path / "out", spool, job, SILENT)
        special = {0, 1, 2}
        expected = sum(
            len(job.tokenizer.token_bytes(one)) for one in spool.tokens().tolist() if one not in special
        )
    assert index.bytes == expected
