"""The second half of packing: rows laid out over all documents, and written as shards."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.formats.atomic import write_atomic
from llmkit.formats.json_text import json_text
from llmkit.formats.shard_writer import write_shard
from llmkit.formats.shards import INDEX, ShardEntry, ShardIndex
from llmkit.formats.token_spool import TokenSpool
from llmkit.machine import cores
from llmkit.progress import Progress
from llmkit.tokens.pack import RowPlan, copy_rows, notes_of, plan_rows
from llmkit.tokens.text_sizes import TextSizes
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.pack.input import PackJob
from llmkit.workflows.pack.spool import SPOOL

_FINISHED = "shards.json"
_CHUNK = 1 << 22


def write_shards(
    folder: Path,
    spool: TokenSpool,
    job: PackJob,
    progress: Progress,
) -> tuple[ShardIndex, int]:
    """Write the rows of a spool and their index into a folder; shards that are there already are kept.

    Returns:
        The index, and the number of documents that stand in more than one row.
    """
    lengths = spool.lengths()
    plan = plan_rows(lengths, job.config)
    tokens, starts = spool.tokens(), np.cumsum(lengths) - lengths
    text_bytes = None if job.tokenizer is None else _text_bytes(tokens, starts, job.tokenizer)
    index = _index(spool, plan, job, text_bytes)
    run_table, run_counts = spool.runs()
    run_bounds = np.concatenate([[0], np.cumsum(run_counts)]).astype(np.int64)
    pad = index.pad_id if index.pad_id is not None else index.eos_id or 0

    finished = folder / SPOOL / _FINISHED
    entries = msgspec.json.decode(finished.read_bytes(), type=list[ShardEntry]) if finished.exists() else []
    step = max(1, job.config.shard_tokens // index.row_length)
    workers = job.workers or cores()
    with ThreadPoolExecutor(workers, thread_name_prefix="frames") as pool:
        for begin in range(step * len(entries), plan.rows, step):
            part = plan.take(begin, min(begin + step, plan.rows))

            def read_rows(start: int, end: int, part: RowPlan = part) -> NDArray[Any]:
                return copy_rows(part.take(start, end), tokens, starts, index.row_length, pad)

            header = msgspec.structs.replace(
                index,
                rows=part.rows,
                tokens=int(part.length.sum()),
                documents=len(np.unique(part.document)),
                bytes=None,
            )
            path = folder / f"shard-{len(entries):05d}.tok.zst"
            notes = notes_of(part, run_table, run_bounds)
            entries.append(write_shard(path, header, read_rows, notes, pool=pool, workers=workers))
            write_atomic(finished, msgspec.json.encode(entries))
            progress.update(min(begin + step, plan.rows), plan.rows, shards=len(entries))
    index = msgspec.structs.replace(index, shards=tuple(entries))
    (folder / INDEX).write_bytes(json_text(index))
    return index, plan.cut_documents


def _index(spool: TokenSpool, plan: RowPlan, job: PackJob, text_bytes: int | None) -> ShardIndex:
    tokenizer, config = job.tokenizer, job.config
    vocab_size = _highest(spool.tokens()) + 1 if tokenizer is None else tokenizer.vocab_size
    return ShardIndex(
        dtype="u2" if vocab_size <= 1 << 16 else "u4",
        seq_len=config.seq_len,
        rows=plan.rows,
        tokens=spool.state.tokens,
        documents=spool.state.documents,
        vocab_size=vocab_size,
        tokenizer_sha256=None if tokenizer is None else tokenizer.sha256,
        bos_id=None if tokenizer is None else tokenizer.bos_id,
        eos_id=None if tokenizer is None else tokenizer.eos_id,
        pad_id=None if tokenizer is None else tokenizer.pad_id,
        boundary=job.markers.name,
        strategy=config.strategy,
        long=config.long,
        seed=config.seed if config.shuffle else None,
        bytes=text_bytes,
    )


def _highest(tokens: NDArray[Any]) -> int:
    """The largest id."""
    return max(int(tokens[start : start + _CHUNK].max()) for start in range(0, len(tokens), _CHUNK))


def _text_bytes(tokens: NDArray[Any], starts: NDArray[np.int64], tokenizer: Tokenizer) -> int:
    """UTF-8 bytes of the text behind all tokens, of which documents begin at `starts`."""
    sizes, total = TextSizes.of_tokenizer(tokenizer), 0.0
    for start in range(0, len(tokens), _CHUNK):
        chunk = tokens[start : start + _CHUNK]
        opens = np.zeros(len(chunk), np.bool_)
        opens[0] = start > 0 and sizes.opens_after(tokens[start - 1])
        opens[1:] = sizes.opens_after(chunk[:-1])
        first, last = np.searchsorted(starts, (start, start + len(chunk)))
        opens[starts[first:last] - start] = True
        total += sizes.total(chunk, opens)
    return int(total)
