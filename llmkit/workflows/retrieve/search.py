"""The search that was asked for: by words, by meaning, by both, and ranked again by a model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llmkit.errors import ConfigError, UsageError
from llmkit.retrieve.config import HIDDEN_STATES_WEIGHT, MEANING_WEIGHT, Bm25Config, By
from llmkit.retrieve.fusion import DEPTH, fuse
from llmkit.retrieve.hits import Find, Hit, hits_of
from llmkit.retrieve.search import Found, WordSearch
from llmkit.retrieve.store import Store
from llmkit.retrieve.vectors import VectorSearch
from llmkit.workflows.retrieve.embed import Embedding, EmbedOptions, open_embedder_of

CANDIDATES = 50
"""Passages that are ranked again, unless it is said."""


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
    """That a search engine may take; None: as retrieve/engines/client.py has it."""
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
        if self.meaning_weight is not None:
            if self.by != "both":
                raise UsageError("--meaning-weight: nothing is weighed", hint="--by both")
            if not 0 <= self.meaning_weight <= 1:
                raise ConfigError(f"--meaning-weight {self.meaning_weight:g}", hint="0 to 1")
        if self.candidates is not None and self.rerank is None:
            raise UsageError("--candidates: nothing is ranked again", hint="--rerank MODEL")


def open_search(store: Store, options: SearchOptions, where: Path) -> Find:
    """Open what a search of an index needs.

    Args:
        store: the index.
        options: how it is searched.
        where: the index, for errors.

    Raises:
        MissingError, DataError, ConfigError: see `open_embedder_of` and `open_reranker`.
    """
    search = _first(store, options, where)
    return ranked_again(lambda query, most: hits_of(store, search(query, most)), options)


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
        meaning = MEANING_WEIGHT if embedding.url else HIDDEN_STATES_WEIGHT
    return 1 - meaning, meaning


def _first(store: Store, options: SearchOptions, where: Path) -> Callable[[str, int], list[Found]]:
    if options.by == "words":
        return WordSearch(store, options.bm25).search
    opened = open_embedder_of(store, options.embed, where)
    meaning = VectorSearch(store.database, opened.embedder.width, opened.embedder.embed)
    if options.by == "meaning":
        return meaning.search
    words = WordSearch(store, options.bm25)
    shares = weights(options, opened.embedding)

    def both(query: str, most: int) -> list[Found]:
        depth = max(most, DEPTH)
        rankings = [
            [one.passage for one in ranking]
            for ranking in (words.search(query, depth), meaning.search(query, depth))
        ]
        return [Found(*one) for one in fuse(rankings, shares, most)]

    return both
