"""The search that was asked for: by words, by meaning, by both, and ranked again by a model."""

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import ConfigError, UsageError
from llmkit.retrieve.config import (
    HIDDEN_STATES_WEIGHT,
    MEANING_WEIGHT,
    SEARCH_FLAGS,
    SEARCH_SECONDS,
    Bm25Config,
    By,
    SearchFlags,
)
from llmkit.retrieve.fusion import DEPTH, fuse
from llmkit.retrieve.hits import Find, Hit, hits_of
from llmkit.retrieve.search import Found, WordSearch
from llmkit.retrieve.store import Store
from llmkit.retrieve.vectors import VectorSearch
from llmkit.workflows.retrieve.embed import OpenEmbedder, open_embedder_of
from llmkit.workflows.retrieve.embedding import Embedding, EmbedOptions
from llmkit.workflows.retrieve.index_file import named

CANDIDATES = 50
"""Passages that are ranked again, unless it is said."""
_Search = Callable[[str, NDArray[np.float32], int], list[Found]]
"""A query, its vector, and how many passages at most, to those passages."""
_NO_VECTOR = np.empty(0, np.float32)
"""Of a query that is looked for by its words alone."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How an index is searched."""

    by: By = "words"
    bm25: Bm25Config = field(default_factory=Bm25Config)
    embed: EmbedOptions = field(default_factory=EmbedOptions)
    """Where the model of the vectors is; nothing: where it was when they were made."""
    meaning_weight: float | None = None
    """Of the vectors' ranking, 0 to 1, beside that by words; None: as retrieve/config.py has it."""
    key: Path | None = None
    """A file whose one line is the key of a search engine."""
    seconds: float | None = None
    """That a search engine may take, and a server for the vector of a query; None: SEARCH_SECONDS."""
    rerank: Path | None = None
    """A model that ranks again what was found."""
    candidates: int | None = None
    """Passages that it ranks; None: CANDIDATES."""
    device: str = "auto"
    """Of the models."""
    flags: SearchFlags = SEARCH_FLAGS
    """What errors call all this."""

    def __post_init__(self) -> None:
        """Raises UsageError where an option has nothing to say."""
        if self.by == "words":
            flags, embed = self.flags, self.embed
            values = (embed.model, embed.url, embed.name, embed.key)
            names = (flags.embed, flags.embed_url, flags.embed_name, flags.embed_key)
            for flag, value in zip(names, values, strict=True):
                if value is not None:
                    raise UsageError(
                        f"{flag} {value}: words need no model",
                        hint=f"{flags.by} meaning, or {flags.by} both",
                    )
        if self.device != "auto" and self.rerank is None and (self.by == "words" or self.embed.url):
            raise UsageError(f"--device {self.device}: no model runs here", hint="--rerank MODEL")
        if self.seconds is not None and not 0 < self.seconds < inf:
            raise ConfigError(f"{self.flags.seconds} {self.seconds:g}", hint="seconds, such as 30")
        if self.meaning_weight is not None:
            if self.by != "both":
                raise UsageError("--meaning-weight: nothing is weighed", hint="--by both")
            if not 0 <= self.meaning_weight <= 1:
                raise ConfigError(f"--meaning-weight {self.meaning_weight:g}", hint="0 to 1")
        if self.candidates is not None and self.rerank is None:
            raise UsageError("--candidates: nothing is ranked again", hint="--rerank MODEL")

    @property
    def files(self) -> list[Path]:
        """What is read beside the index, which no output may be."""
        return [*self.embed.files, *(path for path in (self.key, self.rerank) if path is not None)]


def open_search(store: Store, options: SearchOptions, where: Path) -> "IndexSearch":
    """Open what a search of an index needs; any thread may search.

    Args:
        store: the index.
        options: how it is searched.
        where: the index, for errors.

    Raises:
        UsageError: a time for a server, and none is asked.
        MissingError, DataError, ConfigError: see `open_embedder_of` and `open_reranker`.
    """
    return IndexSearch(store, options, where)


def ranked_again(find: Find, options: SearchOptions) -> Find:
    """The same search, its passages ranked by a model where one is named."""
    if options.rerank is None:
        return find
    from llmkit.workflows.retrieve.rerank import open_reranker  # torch

    reranker = open_reranker(options.rerank, options.device)
    candidates = options.candidates or CANDIDATES

    def again(query: str, most: int) -> list[Hit]:
        return reranker.rank(query, find(query, max(most, candidates)))[:most]

    return again


def weights(options: SearchOptions, embedding: Embedding) -> tuple[float, float]:
    """Of words, and of vectors that this model made."""
    meaning = options.meaning_weight
    if meaning is None:
        meaning = MEANING_WEIGHT if embedding.is_made_for_it else HIDDEN_STATES_WEIGHT
    return 1 - meaning, meaning


class IndexSearch:
    """Searches of an index that other processes may change: each is of one state, the last committed one.

    Attributes:
        asks: whether a server makes the vectors of queries: searches wait for it, and need not one by one.
    """

    def __init__(self, store: Store, options: SearchOptions, where: Path) -> None:
        """See `open_search`."""
        self._store, self._options, self._where = store, options, where
        self._turn, self._computing = Lock(), Lock()
        with ExitStack() as stack:
            self._opened: OpenEmbedder | None = None
            if options.by != "words":
                seconds = options.seconds or SEARCH_SECONDS
                self._opened = open_embedder_of(store, options.embed, where, seconds=seconds)
                stack.callback(self._opened.close)
            self.asks = self._opened is not None and bool(self._opened.embedding.url)
            if options.seconds is not None and not self.asks:
                raise no_server(options, where)
            with store.one_state() as self._state:
                self._search = _search_of(store, options, self._opened)
            self._ranked = ranked_again(self._found, options)
            self._close = stack.pop_all().close

    def __call__(self, query: str, most: int) -> list[Hit]:
        """Passages, the best first; none where nothing is asked, to which some vector is always near."""
        return self._ranked(query, most) if query.strip() else []

    def close(self) -> None:
        """Give back what it holds beside the index."""
        self._close()

    def _found(self, query: str, most: int) -> list[Hit]:
        vector = self._vector(query)  # before its turn: others can search, and commit, while it is made
        with self._turn, named(self._where), self._store.one_state() as state:
            if state != self._state:
                self._search = _search_of(self._store, self._options, self._opened)
                self._state = state
            return hits_of(self._store, self._search(query, vector, most))

    def _vector(self, query: str) -> NDArray[np.float32]:
        if self._opened is None:
            return _NO_VECTOR
        with nullcontext() if self.asks else self._computing:  # a model here has all cores for one
            return self._opened.embedder.embed_query(query)


def no_server(options: SearchOptions, where: Path) -> UsageError:
    """What is said of an engine's flag where none is asked."""
    flag = options.flags.seconds if options.key is None else options.flags.key
    return UsageError(f"{flag} is of a search engine, and {where} is a file", hint="leave it out")


def _search_of(store: Store, options: SearchOptions, opened: OpenEmbedder | None) -> _Search:
    """The search of an index as it is now."""
    if opened is None:
        alone = WordSearch(store, options.bm25)
        return lambda query, vector, most: alone.search(query, most)
    meaning = VectorSearch(store.database, opened.embedder.width)
    if options.by == "meaning":
        return lambda query, vector, most: meaning.search(vector, most)
    words = WordSearch(store, options.bm25)
    shares = weights(options, opened.embedding)

    def both(query: str, vector: NDArray[np.float32], most: int) -> list[Found]:
        depth = max(most, DEPTH)
        rankings = [
            [one.passage for one in ranking]
            for ranking in (words.search(query, depth), meaning.search(vector, depth))
        ]
        return [Found(*one) for one in fuse(rankings, shares, most)]

    return both
