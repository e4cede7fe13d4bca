"""Two shard folders, or two shards: what their indexes say, then the rows and the documents behind them."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from llmkit.formats.digest import digest_file
from llmkit.formats.shards import DOCUMENTS, INDEX, Shard, ShardEntry, ShardFolder
from llmkit.formats.streams import open_input
from llmkit.progress import SILENT, Progress
from llmkit.workflows.diff.keys import KeyDiff, diff_keys

BLOCK_TOKENS = 1 << 20


class FirstRow(msgspec.Struct, frozen=True, kw_only=True):
    """The first row that is not the same."""

    row: int
    differs_in: list[str]
    """tokens, documents (where they begin), loss."""
    position: int
    """The first id of the row that differs, or its boundary or loss."""
    token_a: int
    token_b: int


class FirstDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of documents.jsonl.zst that is not the same; None where one has ended."""

    number: int
    a: str | None
    b: str | None


class ShardsDiff(msgspec.Struct, frozen=True, kw_only=True):
    """How two shard folders differ."""

    same: bool
    index: list[KeyDiff]
    """Of index.json: lengths, counts, tokenizer, boundary, strategy, seed; not the list of files."""
    files_a: int
    files_b: int
    """Rows that are cut into other files are no difference."""
    rows_compared: int
    """0 where the rows are of different lengths."""
    rows_differing: int
    first_row: FirstRow | None
    first_document: FirstDocument | None


def diff_shards(a: Path, b: Path, *, progress: Progress = SILENT) -> ShardsDiff:
    """Compare two shard folders, or two shard files, row by row, a block at a time.

    Raises:
        MissingError: an index or a shard is not there.
        DataError: one is damaged.
    """
    first, second = _open(a), _open(b)
    index = diff_keys(INDEX, _facts(first), _facts(second))
    compared, differing, row = 0, 0, None
    if first.index.row_length == second.index.row_length:
        compared = min(len(first), len(second))
        differing, row = _diff_rows(first, second, compared, progress)
    document = _first_document(a, b) if a.is_dir() and b.is_dir() else None
    return ShardsDiff(
        same=not (index or differing or document),
        index=index,
        files_a=len(first.shards),
        files_b=len(second.shards),
        rows_compared=compared,
        rows_differing=differing,
        first_row=row,
        first_document=document,
    )


def _open(path: Path) -> ShardFolder:
    """A folder, or a file as a folder of one shard."""
    if path.is_dir():
        return ShardFolder.open(path)
    shard = Shard(path)
    header = shard.header
    entry = ShardEntry(path.name, header.rows, header.tokens, path.stat().st_size, digest_file(path))
    return ShardFolder(path.parent, msgspec.structs.replace(header, shards=(entry,)), [shard])


def _facts(folder: ShardFolder) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(folder.index)
    facts.pop("shards")
    return facts


def _diff_rows(a: ShardFolder, b: ShardFolder, count: int, progress: Progress) -> tuple[int, FirstRow | None]:
    """How many of the first `count` rows differ, and the first that does."""
    step = max(1, BLOCK_TOKENS // a.index.row_length)
    differing, first = 0, None
    for start in range(0, count, step):
        progress.update(start, count, differing=float(differing))
        numbers = range(start, min(start + step, count))
        one, other = a.read(numbers), b.read(numbers)
        unlike = {
            "tokens": one.tokens != other.tokens,
            "documents": one.segments != other.segments,
            "loss": one.loss != other.loss,
        }
        anywhere = np.logical_or.reduce(list(unlike.values()))  # (N, L)
        rows = np.flatnonzero(anywhere.any(axis=1))
        differing += len(rows)
        if first is None and len(rows):
            row = int(rows[0])
            position = int(anywhere[row].argmax())
            first = FirstRow(
                row=start + row,
                differs_in=[name for name, places in unlike.items() if places[row].any()],
                position=position,
                token_a=int(one.tokens[row, position]),
                token_b=int(other.tokens[row, position]),
            )
    return differing, first


def _first_document(a: Path, b: Path) -> FirstDocument | None:
    for number, (one, other) in enumerate(zip_longest(_lines(a), _lines(b))):
        if one != other:
            return FirstDocument(number=number, a=one, b=other)
    return None


def _lines(folder: Path) -> Iterator[str]:
    """The lines of documents.jsonl.zst, without their ends."""
    with open_input(folder / DOCUMENTS) as stream:
        for line in stream:
            yield line.decode(errors="backslashreplace").rstrip("\n")
