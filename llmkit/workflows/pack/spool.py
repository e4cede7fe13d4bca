"""The first half of packing: all documents' ids on disk, between their markers, long ones as --long says."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from llmkit.formats.jsonl import OnBad, encode_line
from llmkit.formats.shards import DOCUMENTS
from llmkit.formats.token_documents import TokenDocument, TokenIds
from llmkit.formats.token_spool import DOCUMENTS as SPOOLED
from llmkit.formats.token_spool import IdType, TokenSpool
from llmkit.progress import Progress
from llmkit.text.history import origin_of
from llmkit.tokens.gaps import GapDocument
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.pack.input import PackJob, encode_packable, read_packable

SPOOL = ".spool"
"""The spool's folder inside the one that is made."""
COMMIT_SECONDS = 10.0


class Tally(msgspec.Struct):
    """Documents as they pass."""

    seen: int = 0
    """Read, whatever became of them."""
    empty: int = 0
    long: int = 0
    dropped: int = 0
    lost_tokens: int = 0
    fim_psm: int = 0
    fim_spm: int = 0


@contextmanager
def spool_documents(
    folder: Path,
    job: PackJob,
    *,
    on_bad: OnBad | None,
    is_kept: bool,
    progress: Progress,
    documents: Iterable[TokenDocument] | None = None,
) -> Iterator[tuple[TokenSpool, Tally]]:
    """Read and encode all documents into a spool, and yield it with what was counted.

    Args:
        folder: of the spool; one that is there is gone on with.
        is_kept: whether the spool is to survive an interruption.
        documents: put into it instead of what the job reads; the spool is a new one then.
    """
    folder.mkdir(exist_ok=True)
    with TokenSpool(folder, id_type_of(job.tokenizer)) as spool:
        tally = msgspec.convert(spool.state.notes, Tally)
        if documents is None:
            rest = islice(read_packable(job, on_bad), tally.seen, None)  # what is spooled is only read again
            documents = encode_packable(rest, job, tally.seen)
        last = time.monotonic()
        for document in documents:
            _add(spool, tally, document, job)
            if tally.seen % 64 == 0:
                progress.update(spool.state.tokens, documents=f"{tally.seen:,}")
            if is_kept and time.monotonic() - last >= COMMIT_SECONDS:
                spool.state.notes = msgspec.to_builtins(tally)
                spool.commit()
                last = time.monotonic()
        spool.state.notes = msgspec.to_builtins(tally)
        spool.commit() if is_kept else spool.flush()
        yield spool, tally


def clear_spool(spool: Path, folder: Path) -> None:
    """Keep the list of documents in `folder`, compressed, and remove the spool."""
    with (spool / SPOOLED).open("rb") as lines, (folder / DOCUMENTS).open("wb") as out:
        zstandard.ZstdCompressor(level=3, write_checksum=True).copy_stream(lines, out)
    for file in spool.iterdir():
        file.unlink()
    spool.rmdir()


def id_type_of(tokenizer: Tokenizer | None) -> IdType:
    """The width of the ids: two bytes where the vocabulary is known to fit."""
    return "u2" if tokenizer is not None and tokenizer.vocab_size <= 1 << 16 else "u4"


def _add(spool: TokenSpool, tally: Tally, document: TokenDocument, job: PackJob) -> None:
    config = job.config
    tally.seen += 1
    tokens, runs = job.markers.around(document)
    if not len(tokens):
        tally.empty += 1
        return
    line: dict[str, Any] = {"document": spool.state.documents, "id": document.id, "num_tokens": len(tokens)}
    if len(tokens) > config.row_length:
        tally.long += 1
        if config.long == "drop":
            tally.dropped += 1
            tally.lost_tokens += len(tokens)
            return
        if config.long == "truncate":
            lost = len(tokens) - config.row_length
            tally.lost_tokens += lost
            line |= {"num_tokens": config.row_length, "lost_tokens": lost}
            tokens, runs = _truncate(tokens, runs, config.row_length)
    if isinstance(document, GapDocument):
        line["fim"] = document.form
        tally.fim_psm += document.form == "psm"
        tally.fim_spm += document.form == "spm"
    spool.add(tokens, runs, encode_line(line | origin_of(document.record)))


def _truncate(tokens: TokenIds, runs: NDArray[np.int64], length: int) -> tuple[TokenIds, NDArray[np.int64]]:
    """The first `length` ids, and the runs as far as they reach."""
    inside = runs[runs[:, 0] < length]
    ends = np.minimum(inside.sum(axis=1), length)
    return tokens[:length], np.stack([inside[:, 0], ends - inside[:, 0]], axis=1)
