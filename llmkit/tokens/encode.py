"""Documents in, token documents out: all cores, order kept, memory bounded.

The main thread reads the next batch and turns the last one's ids into arrays while a background thread is in
`tokenizers`, which lets go of the interpreter and uses every core. Many small batches beat one large call to
`encode_batch`: the encodings (about 100 bytes a token) are freed while they are still in the cache.
"""

import queue
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import tokenizers

from llmkit.errors import ConfigError, DataError
from llmkit.formats.documents import Document
from llmkit.formats.token_documents import TokenDocument, TokenIds
from llmkit.tokens.cuts import can_cut, cut
from llmkit.tokens.ordinary import ordinary_backend, parsing_backend
from llmkit.tokens.tokenizer import Tokenizer

BATCH_BYTES = 1 << 20  # about 0.2 s of work on two cores
PIECE_CHARS = 1 << 15  # longer texts are cut where that is safe, so that no core waits for one long book
BATCHES_AHEAD = 2


@dataclass(frozen=True)
class EncodeOptions:
    """How documents are encoded; shared by the functions of this module."""

    bos: bool = False
    eos: bool = False
    """Put the tokenizer's begin or end token around each document."""
    special: Callable[[Document], bool] = lambda document: False
    """Whether text in this document that looks like a special token becomes that token."""
    batch_bytes: int = BATCH_BYTES
    """Text encoded at a time, about."""
    ahead: int = BATCHES_AHEAD
    """Batches read before the first result comes out; 0 gives each result as soon as it can be had."""
    threads: int | None = None
    """Cores to use; None: what `tokenizers` uses, all of them unless RAYON_NUM_THREADS says less."""


@dataclass(frozen=True)
class Piece:
    """Part of a document's text, and whether the document ends here."""

    document: Document
    text: str
    last: bool
    special: bool


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
    """Encode documents, in order, with a few batches of `batch_bytes` in memory.

    Args:
        tokenizer: whose ids.
        documents: read as they are needed.
        bos, eos: put the tokenizer's begin or end token around each document.
        allow_special: whether text that looks like a special token becomes that token.
        batch_bytes: text encoded at a time, about.
        threads: cores to use; None: what `tokenizers` uses, all of them unless RAYON_NUM_THREADS says less.

    Raises:
        ConfigError: bos or eos is asked for and the tokenizer has none.
    """
    options = EncodeOptions(
        bos=bos,
        eos=eos,
        special=lambda document: allow_special,
        batch_bytes=batch_bytes,
        threads=threads,
    )
    for document, tokens in encode_pairs(tokenizer, documents, options):
        yield TokenDocument(document.id, tokens, None, document.where, document.record)


def encode_pairs(
    tokenizer: Tokenizer, documents: Iterable[Document], options: EncodeOptions
) -> Iterator[tuple[Document, TokenIds]]:
    """Each document beside its ids, in order; see `encode_documents`."""
    before = [required_id(tokenizer.bos_id, "bos")] if options.bos else []
    after = [required_id(tokenizer.eos_id, "eos")] if options.eos else []
    backends = {False: ordinary_backend(tokenizer), True: parsing_backend(tokenizer)}
    pieces = _pieces(documents, options.special, cuttable=can_cut(tokenizer.backend))
    ahead = max(options.ahead, options.threads or 0) if options.ahead else 0
    encoder = _Encoder(backends, options.threads)
    try:
        ids = array("I", before)
        for piece, encoding in _encoded(encoder, _batches(pieces, options.batch_bytes), ahead):
            ids.fromlist(encoding.ids)
            if piece.last:
                ids.fromlist(after)
                yield piece.document, np.asarray(ids)
                ids = array("I", before)
    finally:
        encoder.stop()


def required_id(token_id: int | None, name: str) -> int:
    """The id of bos or eos.

    Raises:
        ConfigError: the tokenizer has none.
    """
    if token_id is None:
        raise ConfigError(
            f"the tokenizer has no {name} token",
            hint=f"leave out --{name}, or name one in tokenizer_config.json ({name}_token)",
        )
    return token_id


def _pieces(
    documents: Iterable[Document], special: Callable[[Document], bool], *, cuttable: bool
) -> Iterator[Piece]:
    """Documents as pieces: one each, several for a long one that may be cut."""
    for document in documents:
        policy = special(document)
        if not cuttable or len(document.text) <= PIECE_CHARS:
            yield Piece(document, document.text, True, policy)
            continue
        parts = cut(document.text, PIECE_CHARS)
        part = next(parts)
        for following in parts:
            yield Piece(document, part, False, policy)
            part = following
        yield Piece(document, part, True, policy)


def _batches(pieces: Iterable[Piece], batch_bytes: int) -> Iterator[list[Piece]]:
    """Pieces in lists of about `batch_bytes` of text, all under one policy."""
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        if batch and batch[0].special != piece.special:
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += len(piece.text) if piece.text.isascii() else 3 * len(piece.text)
        if size >= batch_bytes:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encoded(
    encoder: "_Encoder", batches: Iterable[list[Piece]], ahead: int
) -> Iterator[tuple[Piece, tokenizers.Encoding]]:
    """Each piece with its encoding; up to `ahead` further batches are read and encoded meanwhile."""
    waiting: deque[tuple[list[Piece], Future[list[Any]]]] = deque()
    for batch in batches:
        waiting.append((batch, encoder.submit(batch)))
        if len(waiting) > ahead:
            yield from _results(*waiting.popleft())
    while waiting:
        yield from _results(*waiting.popleft())


def _results(batch: list[Piece], future: Future[list[Any]]) -> Iterator[tuple[Piece, tokenizers.Encoding]]:
    return zip(batch, future.result(), strict=True)


class _Encoder:
    """Background threads inside `tokenizers`. They are daemons: Ctrl-C does not wait for a call into Rust."""

    def __init__(self, backends: dict[bool, tokenizers.Tokenizer], threads: int | None) -> None:
        self._backends = backends
        self._together = threads is None
        self._jobs: queue.SimpleQueue[tuple[Future[list[Any]], list[Piece]] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(threads or 1)]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: list[Piece]) -> Future[list[Any]]:
        """Encode a batch in the background."""
        future: Future[list[Any]] = Future()
        self._jobs.put((future, batch))
        return future

    def stop(self) -> None:
        """Let the threads end after their current job; nobody waits for them."""
        for _ in self._threads:
            self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, batch = job
            try:
                future.set_result(self._encode(batch))
            except BaseException as error:
                future.set_exception(error)

    def _encode(self, batch: list[Piece]) -> list[Any]:
        backend = self._backends[batch[0].special]
        if self._together:  # one call, spread over all cores
            with suppress(Exception):  # the library throws no narrower kind, and does not say at which text
                return backend.encode_batch_fast([piece.text for piece in batch], add_special_tokens=False)
        # one text at a time keeps to this thread's one core
        return [_encode_piece(backend, piece) for piece in batch]


def _encode_piece(backend: tokenizers.Tokenizer, piece: Piece) -> Any:
    """One piece's encoding.

    Raises:
        DataError: the tokenizer has no token for a part of it.
    """
    try:
        (encoding,) = backend.encode_batch_fast([piece.text], add_special_tokens=False)
    except Exception as error:
        raise DataError(
            f"{piece.document.where or 'the text'}: the tokenizer cannot encode this ({error})",
            hint="leave out the characters that its vocabulary lacks: llmkit show TOKENIZER --vocab",
        ) from None
    return encoding
