"""One shard, written: a header, frames of whole rows compressed on several cores, notes, a seek table."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.formats.atomic import atomic_file
from llmkit.formats.digest import digest_file
from llmkit.formats.row_notes import RowNotes
from llmkit.formats.seekable import SeekableWriter, compress_frame
from llmkit.formats.shards import NOTES_KIND, ShardEntry, ShardIndex, frame_rows


def write_shard(
    path: Path,
    header: ShardIndex,
    read_rows: Callable[[int, int], NDArray[Any]],
    notes: RowNotes,
    *,
    pool: ThreadPoolExecutor,
    workers: int,
) -> ShardEntry:
    """Write a shard whole or not at all; the same rows give the same bytes, whatever the workers.

    Args:
        path: of the file.
        header: with the rows and tokens of this shard.
        read_rows: (start, end) to their (end - start, L) ids; called from the pool's threads.
        notes: of its rows.
        pool: compresses frames.
        workers: frames in the making at a time.
    """

    def compressed(start: int) -> tuple[bytes, bytes]:
        rows = read_rows(start, min(start + step, header.rows))
        content = np.ascontiguousarray(rows, dtype=f"<{header.dtype}").tobytes()
        return compress_frame(content), content

    step = frame_rows(header.row_length)
    with atomic_file(path) as stream:
        writer = SeekableWriter(stream)
        writer.skippable(msgspec.json.encode(header))
        for frame, content in _in_order(compressed, range(0, header.rows, step), pool, 2 * workers):
            writer.frame(frame, content)
        writer.skippable(notes.encode(), NOTES_KIND)
        writer.finish()
    return ShardEntry(path.name, header.rows, header.tokens, path.stat().st_size, digest_file(path))


def _in_order(
    function: Callable[[int], tuple[bytes, bytes]], arguments: range, pool: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[bytes, bytes]]:
    """Results in the order of the arguments, at most `ahead` of them waiting."""
    waiting: deque[Future[tuple[bytes, bytes]]] = deque()
    for argument in arguments:
        waiting.append(pool.submit(function, argument))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
