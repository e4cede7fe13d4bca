"""Shards written by hand: rows drawn token by token, and what their notes say."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from llmkit.formats.row_notes import RowNotes
from llmkit.formats.shard_writer import write_shard
from llmkit.formats.shards import INDEX, ShardEntry, ShardIndex

SEQ_LEN = 7


@pytest.fixture
def make_index() -> Callable[..., ShardIndex]:
    """An index of rows of 8 ids below 100, with some fields changed."""

    def make(**fields: Any) -> ShardIndex:
        settings: dict[str, Any] = {
            **{"dtype": "u2", "seq_len": SEQ_LEN, "rows": 0, "tokens": 0, "documents": 0, "vocab_size": 100},
            **{"tokenizer_sha256": "t", "bos_id": 0, "eos_id": 1, "pad_id": None, "boundary": "both"},
            **{"strategy": "best-fit", "long": "split", "seed": 0, "bytes": None},
        }
        return ShardIndex(**settings | fields)

    return make


@pytest.fixture
def make_shard(make_index: Callable[..., ShardIndex]) -> Callable[..., ShardEntry]:
    """Write rows, each one document and full, into a shard."""

    def make(path: Path, rows: np.ndarray, *, workers: int = 1, **fields: Any) -> ShardEntry:
        count, length = rows.shape
        notes = RowNotes(
            used=np.full(count, length),
            segment_rows=np.arange(count + 1),
            starts=np.zeros(count, np.int64),
            documents=np.arange(count),
            offsets=np.zeros(count, np.int64),
            run_rows=np.zeros(count + 1, np.int64),
            run_starts=np.zeros(0, np.int64),
            run_lengths=np.zeros(0, np.int64),
        )
        settings = {"rows": count, "tokens": rows.size, "seq_len": length - 1, "documents": count} | fields
        header = make_index(**settings)
        with ThreadPoolExecutor(workers) as pool:
            return write_shard(
                path, header, lambda start, end: rows[start:end], notes, pool=pool, workers=workers
            )

    return make


@pytest.fixture
def make_folder(
    make_shard: Callable[..., ShardEntry], make_index: Callable[..., ShardIndex]
) -> Callable[..., Path]:
    """A folder of shards with these rows."""

    def make(folder: Path, *parts: np.ndarray, **fields: Any) -> Path:
        folder.mkdir()
        entries = [
            make_shard(folder / f"shard-{number:05d}.tok.zst", rows, **fields)
            for number, rows in enumerate(parts)
        ]
        total = {"rows": sum(map(len, parts)), "tokens": sum(rows.size for rows in parts)}
        index = make_index(**{"seq_len": parts[0].shape[1] - 1, **total, **fields, "shards": tuple(entries)})
        (folder / INDEX).write_bytes(msgspec.json.encode(index))
        return folder

    return make
