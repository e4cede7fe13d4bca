"""What a shard folder, or one shard by itself, holds: counts, how it was packed, how well it compresses."""

from pathlib import Path

import msgspec

from llmkit.errors import DataError, UsageError
from llmkit.formats.provenance import read_provenance
from llmkit.formats.shards import Shard, ShardEntry, ShardFolder, ShardIndex


class ShardsReport(msgspec.Struct, frozen=True, kw_only=True):
    """A shard folder; `kind` is also "shard", a file by itself."""

    schema: str = "llmkit.show/1"
    kind: str
    path: str
    rows: int
    seq_len: int
    tokens: int
    padding_tokens: int
    documents: int
    vocab_size: int
    dtype: str
    boundary: str
    strategy: str
    long: str
    seed: int | None
    """Of the shuffle; None: not shuffled."""
    tokenizer_sha256: str | None
    special_ids: dict[str, int]
    text_bytes: int | None
    """UTF-8 bytes of the text behind the tokens, where known."""
    bytes_per_token: float | None
    size_bytes: int
    raw_bytes: int
    """Of the ids without compression."""
    frames: int
    shards: list[ShardEntry]
    """Empty for a file by itself."""
    made_by: str | None


def show_shards(path: Path) -> ShardsReport:
    """A shard folder, or one shard.

    Raises:
        MissingError: no index, or a shard that it names is not there.
        DataError: truncated, damaged, or files of different folders.
    """
    if path.is_dir():
        folder = ShardFolder.open(path)
        frames = sum(shard.num_frames for shard in folder.shards)
        size = sum(entry.file_bytes for entry in folder.index.shards)
        provenance = read_provenance(path)
        made_by = None if provenance is None else provenance.get("command_line")
        return _report("shards", path, folder.index, frames, size, made_by)
    shard = Shard(path)
    return _report("shard", path, shard.header, shard.num_frames, path.stat().st_size, None)


def verify_shards(path: Path) -> ShardsReport:
    """The same after every frame was read and checked.

    Raises:
        DataError: something is wrong; the first problem, and how many more there are.
    """
    folder = open_folder(path)
    problems = folder.verify()
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise DataError(problems[0] + more, hint=f"llmkit doctor {path} lists them; pack again")
    return show_shards(path)


def open_folder(path: Path) -> ShardFolder:
    """A shard folder, for its rows.

    Raises:
        UsageError: a file, or a folder of something else.
    """
    if not path.is_dir():
        raise UsageError(f"{path}: not a shard folder", hint=f"llmkit show {path}")
    return ShardFolder.open(path)


def _report(
    kind: str, path: Path, index: ShardIndex, frames: int, size: int, made_by: str | None
) -> ShardsReport:
    ids = {"bos": index.bos_id, "eos": index.eos_id, "pad": index.pad_id}
    slots = index.rows * index.row_length
    return ShardsReport(
        kind=kind,
        path=str(path),
        rows=index.rows,
        seq_len=index.seq_len,
        tokens=index.tokens,
        padding_tokens=slots - index.tokens,
        documents=index.documents,
        vocab_size=index.vocab_size,
        dtype=index.dtype,
        boundary=index.boundary,
        strategy=index.strategy,
        long=index.long,
        seed=index.seed,
        tokenizer_sha256=index.tokenizer_sha256,
        special_ids={name: token_id for name, token_id in ids.items() if token_id is not None},
        text_bytes=index.bytes,
        bytes_per_token=None if index.bytes is None else index.bytes / max(1, index.tokens),
        size_bytes=size,
        raw_bytes=slots * int(index.dtype[1]),
        frames=frames,
        shards=list(index.shards),
        made_by=made_by,
    )
