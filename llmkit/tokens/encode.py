"""Documents in, token documents out: all cores, order kept, memory bounded.

The main thread reads the next batch and turns the last one's ids into arrays while a background thread is in
`tokenizers`, which lets go of the interpreter and uses every core. Many small batches beat one large call to
`encode_batch`: the encodings (about 100 bytes a token) are freed while they are still in the cache.
"""

import queue
import threading
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import tokenizers

from llmkit.errors import ConfigError
from llmkit.formats.documents import Document
from llmkit.formats.token_documents import TokenDocument, TokenIds
from llmkit.tokens.cuts import can_cut, cut
from llmkit.tokens.ordinary import ordinary_backend, parsing_backend
from llmkit.tokens.tokenizer import Tokenizer

BATCH_BYTES = 1 << 20  # about 0.2 s of work on two cores: what Ctrl-C may have to wait for
PIECE_CHARS = 1 << 15  # longer texts are cut where that is safe, so that no core waits for one long book


@dataclass(frozen=True)
class Piece:
    """Part of a document: its text, and whether the document ends here."""

    document: Document
    text: str
    last: bool


def encode_documents(
    tokenizer: Tokenizer,
    documents: Iterable[Document],
    *,
    bos: bool = False,
    eos: bool = False,
    allow_special: bool = False,
    batch_bytes: int = BATCH_BYTES,
    threads: int | None = None,
) -> Iterator[TokenDocument]:
    """Encode documents, in order.

    Args:
        tokenizer: whose ids.
        documents: read one batch ahead, never more.
        bos, eos: put the tokenizer's begin or end token around each document.
        allow_special: whether text that looks like a special token becomes that token.
        batch_bytes: text encoded at a time, about; bounds memory and how long Ctrl-C waits.
        threads: cores to use; None: what `tokenizers` uses, all of them unless RAYON_NUM_THREADS says less.

    Raises:
        ConfigError: bos or eos is asked for and the tokenizer has none.
    """
    pairs = encode_pairs(
        tokenizer,
        documents,
        bos=bos,
        eos=eos,
        allow_special=allow_special,
        batch_bytes=batch_bytes,
        threads=threads,
    )
    for document, tokens in pairs:
        yield TokenDocument(document.id, tokens, None, document.where, document.record)


def encode_pairs(
    tokenizer: Tokenizer,
    documents: Iterable[Document],
    *,
    bos: bool = False,
    eos: bool = False,
    allow_special: bool = False,
    batch_bytes: int = BATCH_BYTES,
    threads: int | None = None,
) -> Iterator[tuple[Document, TokenIds]]:
    """Each document beside its ids; see `encode_documents`."""
    before = [_required(tokenizer.bos_id, "bos")] if bos else []
    after = [_required(tokenizer.eos_id, "eos")] if eos else []
    backend = parsing_backend(tokenizer) if allow_special else ordinary_backend(tokenizer)
    batches = _batches(_pieces(documents, cuttable=can_cut(backend)), batch_bytes)

    ids = array("I", before)
    for batch, encodings in _encoded(backend, batches, threads):
        for piece, encoding in zip(batch, encodings, strict=True):
            ids.fromlist(encoding.ids)
            if piece.last:
                ids.fromlist(after)
                yield piece.document, np.asarray(ids)
                ids = array("I", before)


def _pieces(documents: Iterable[Document], *, cuttable: bool) -> Iterator[Piece]:
    """Documents as pieces: one each, several for a long one that may be cut."""
    for document in documents:
        if not cuttable or len(document.text) <= PIECE_CHARS:
            yield Piece(document, document.text, last=True)
            continue
        parts = cut(document.text, PIECE_CHARS)
        part = next(parts)
        for following in parts:
            yield Piece(document, part, last=False)
            part = following
        yield Piece(document, part, last=True)


def _batches(pieces: Iterable[Piece], batch_bytes: int) -> Iterator[list[Piece]]:
    """Pieces in lists of about `batch_bytes` of text."""
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece.text) if piece.text.isascii() else 3 * len(piece.text)
        if size >= batch_bytes:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encoded(
    backend: tokenizers.Tokenizer, batches: Iterable[list[Piece]], threads: int | None
) -> Iterator[tuple[list[Piece], list[Any]]]:
    """Each batch with its encodings; the next ones are read and encoded meanwhile."""
    workers = _Workers(backend, threads)
    ahead = 1 + (threads or 1)
    waiting: deque[tuple[list[Piece], Future[list[Any]]]] = deque()
    try:
        for batch in batches:
            waiting.append((batch, workers.submit([piece.text for piece in batch])))
            if len(waiting) > ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        workers.stop()


class _Workers:
    """Background threads inside `tokenizers`. They are daemons: Ctrl-C does not wait for a call into Rust."""

    def __init__(self, backend: tokenizers.Tokenizer, threads: int | None) -> None:
        self._backend = backend
        self._together = threads is None
        self._jobs: queue.SimpleQueue[tuple[Future[list[Any]], list[str]] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(threads or 1)]
        for thread in self._threads:
            thread.start()

    def submit(self, texts: list[str]) -> Future[list[Any]]:
        """Encode a batch in the background."""
        future: Future[list[Any]] = Future()
        self._jobs.put((future, texts))
        return future

    def stop(self) -> None:
        """Let the threads end after their current job; nobody waits for them."""
        for _ in self._threads:
            self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, texts = job
            try:
                future.set_result(self._encode(texts))
            except BaseException as error:
                future.set_exception(error)

    def _encode(self, texts: list[str]) -> list[Any]:
        if self._together:  # one call, spread over all cores
            return self._backend.encode_batch_fast(texts, add_special_tokens=False)
        encode = self._backend.encode_batch_fast  # one text at a time keeps to this thread's one core
        return [encoding for text in texts for encoding in encode([text], add_special_tokens=False)]


def _required(token_id: int | None, name: str) -> int:
    if token_id is None:
        raise ConfigError(
            f"the tokenizer has no {name} token",
            hint=f"leave out --{name}, or name one in tokenizer_config.json ({name}_token)",
        )
    return token_id
