"""The search that was asked for: by words, by meaning, by both, and ranked again by a model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llmkit.errors import UsageError
from llmkit.retrieve.config import Bm25Config, By
from llmkit.retrieve.fusion import DEPTH, fuse
from llmkit.retrieve.search import Found, WordSearch
from llmkit.retrieve.store import Store
from llmkit.retrieve.vectors import VectorSearch
from llmkit.workflows.retrieve.embed import EmbedOptions, open_embedder_of

Search = Callable[[str, int], list[Found]]
"""A query, and how many passages at most, to those passages, the best first."""
CANDIDATES = 50
"""Passages that are ranked again, unless it is said."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How an index is searched."""

    by: By = "words"
    bm25: Bm25Config = field(default_factory=Bm25Config)
    embed: EmbedOptions = field(default_factory=EmbedOptions)
    """Where the model of the vectors is; nothing: where it was when they were made."""
    rerank: Path | None = None
    """A model that ranks again what was found."""
    candidates: int | None = None
    """Passages that it ranks; None: CANDIDATES."""
    device: str = "auto"
    """Of the models."""

    def __post_init__(self) -> None:
        """Raises UsageError where an option has nothing to say."""
        if self.embed.is_given and self.by == "words":
            model, url = self.embed.model, self.embed.url
            given = f"--embed {model}" if url is None else f"--embed-url {url}"
            raise UsageError(f"{given}: words need no model", hint="--by meaning, or --by both")
        if self.candidates is not None and self.rerank is None:
            raise UsageError("--candidates: nothing is ranked again", hint="--rerank MODEL")


def open_search(store: Store, options: SearchOptions, where: Path) -> Search:
    """Open what a search needs.

    Args:
        store: the index.
        options: how it is searched.
        where: the index, for errors.

    Raises:
        MissingError, DataError, ConfigError: see `open_embedder_of` and `open_reranker`.
    """
    search = _first(store, options, where)
    if options.rerank is None:
        return search
    from llmkit.workflows.retrieve.rerank import open_reranker  # torch

    reranker = open_reranker(options.rerank, options.device)
    candidates = options.candidates or CANDIDATES

    def again(query: str, most: int) -> list[Found]:
        return reranker.rank(store, query, search(query, max(most, candidates)))[:most]

    return again


def _first(store: Store, options: SearchOptions, where: Path) -> Search:
    if options.by == "words":
        return WordSearch(store, options.bm25).search
    embedder = open_embedder_of(store, options.embed, where).embedder
    meaning = VectorSearch(store.database, embedder.width, embedder.embed)
    if options.by == "meaning":
        return meaning.search
    words = WordSearch(store, options.bm25)

    def both(query: str, most: int) -> list[Found]:
        depth = max(most, DEPTH)
        return fuse([words.search(query, depth), meaning.search(query, depth)], most)

    return both
