"""Documents in, token documents out: all cores, order kept, memory bounded.

Each background thread has one text at a time in `tokenizers`, which lets go of the interpreter meanwhile, and
keeps only its ids; the main thread reads ahead. The library's own threads would share out each call: waking
them, and the memory that one allocates and another frees, cost a fifth to a third more processor time. Words
met before are not encoded again (`memo.py`).
"""

import queue
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tokenizers

from llmkit.errors import ConfigError, DataError
from llmkit.formats.documents import Document
from llmkit.formats.token_documents import TokenDocument, TokenIds
from llmkit.machine import cores
from llmkit.tokens.cuts import Places, cut, safe_places
from llmkit.tokens.memo import UnitMemo, UnknownUnitError
from llmkit.tokens.ordinary import ordinary_backend, parsing_backend
from llmkit.tokens.tokenizer import Tokenizer

BATCH_BYTES = 1 << 17  # of text that a thread takes at a time: enough to hand over seldom
PIECE_CHARS = 1 << 15  # longer texts are cut where that is safe, so that no core waits for one long book
_AHEAD = 2  # batches for each thread


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
    read_ahead: bool = True
    """Whether documents are read before the results of earlier ones are out."""
    threads: int | None = None
    """Cores to use; None: all of them."""


class Piece(NamedTuple):
    """Part of a document's text, and whether the document ends here."""

    document: Document
    text: str
    last: bool
    special: bool


def encode_documents(
    tokenizer: Tokenizer, documents: Iterable[Document], options: EncodeOptions = EncodeOptions()
) -> Iterator[TokenDocument]:
    """Encode documents, in order, with a few batches in memory.

    Args:
        tokenizer: whose ids.
        documents: read as they are needed.
        options: see there.

    Raises:
        ConfigError: bos or eos is asked for and the tokenizer has none.
    """
    for document, tokens in encode_pairs(tokenizer, documents, options):
        yield TokenDocument(document.id, tokens, None, document.where, document.record)


def encode_pairs(
    tokenizer: Tokenizer, documents: Iterable[Document], options: EncodeOptions
) -> Iterator[tuple[Document, TokenIds]]:
    """Each document beside its ids, in order; see `encode_documents`."""
    before = [_marker(required_id(tokenizer.bos_id, "bos"))] if options.bos else []
    after = [_marker(required_id(tokenizer.eos_id, "eos"))] if options.eos else []
    roads = {False: _Road(ordinary_backend(tokenizer)), True: _Road(parsing_backend(tokenizer))}
    pieces = _pieces(documents, options.special, {policy: road.places for policy, road in roads.items()})
    threads = (options.threads or cores()) if options.read_ahead else 1
    ahead = _AHEAD * threads if options.read_ahead else 0
    encoder = _Encoder(roads, threads)
    try:
        parts = [*before]
        for piece, ids in _encoded(encoder, _batches(pieces, options.batch_bytes), ahead):
            parts.append(ids)
            if piece.last:
                parts += after
                yield piece.document, ids if len(parts) == 1 else np.concatenate(parts)
                parts = [*before]
    finally:
        encoder.stop()


def _marker(token_id: int) -> TokenIds:
    return np.array([token_id], np.uint32)


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
    documents: Iterable[Document], special: Callable[[Document], bool], places: dict[bool, Places | None]
) -> Iterator[Piece]:
    """Documents as pieces: one each, several for a long one that may be cut."""
    for document in documents:
        policy = special(document)
        safe = places[policy]
        if safe is None or len(document.text) <= PIECE_CHARS:
            yield Piece(document, document.text, True, policy)
            continue
        parts = cut(document.text, PIECE_CHARS, safe)
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
) -> Iterator[tuple[Piece, TokenIds]]:
    """Each piece with its ids; up to `ahead` further batches are read and encoded meanwhile."""
    waiting: deque[tuple[list[Piece], Future[list[TokenIds]]]] = deque()
    for batch in batches:
        waiting.append((batch, encoder.submit(batch)))
        if len(waiting) > ahead:
            yield from _results(*waiting.popleft())
    while waiting:
        yield from _results(*waiting.popleft())


def _results(batch: list[Piece], future: Future[list[TokenIds]]) -> Iterator[tuple[Piece, TokenIds]]:
    return zip(batch, future.result(), strict=True)


class _Encoder:
    """Background threads inside `tokenizers`. They are daemons: Ctrl-C does not wait for a call into Rust."""

    def __init__(self, roads: "dict[bool, _Road]", threads: int) -> None:
        self._roads = roads
        self._jobs: queue.SimpleQueue[tuple[Future[list[TokenIds]], list[Piece]] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: list[Piece]) -> Future[list[TokenIds]]:
        """Encode a batch in the background."""
        future: Future[list[TokenIds]] = Future()
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

    def _encode(self, batch: list[Piece]) -> list[TokenIds]:
        return self._roads[batch[0].special].encode(batch)


class _Road:
    """A backend and, where its texts can be cut, a memory before it."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self.places = safe_places(backend)
        self._backend = backend
        self._memo = None if self.places is None else UnitMemo(backend, self.places)

    def encode(self, batch: list[Piece]) -> list[TokenIds]:
        """Each piece's ids.

        Raises:
            DataError: the tokenizer has no token for a part of one of them.
        """
        texts = [piece.text for piece in batch]
        return [
            self._alone(piece) if ids is None else ids
            for piece, ids in zip(batch, self._remembered(texts), strict=True)
        ]

    def _remembered(self, texts: list[str]) -> Sequence[TokenIds | None]:
        """What memory has of each text: nothing where one cannot be encoded, which is then told of alone."""
        nothing = [None] * len(texts)
        try:
            return nothing if self._memo is None else self._memo.encode(texts)
        except UnknownUnitError:
            return nothing

    def _alone(self, piece: Piece) -> TokenIds:
        """One piece's ids, on this thread's core alone: a call with several would be shared out."""
        try:
            (encoding,) = self._backend.encode_batch_fast([piece.text], add_special_tokens=False)
        except Exception as error:  # the library throws no narrower kind
            raise DataError(
                f"{piece.document.where or 'the text'}: the tokenizer cannot encode this ({error})",
                hint="leave out the characters that its vocabulary lacks: llmkit show TOKENIZER --vocab",
            ) from None
        return np.asarray(array("I", encoding.ids))  # twice as quick as from the list itself
