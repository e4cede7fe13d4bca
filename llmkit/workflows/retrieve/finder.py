"""What is searched: an index of llmkit's, or a collection that another engine holds."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.key_file import read_key
from llmkit.retrieve.config import Bm25Config
from llmkit.retrieve.engines.address import is_engine, read_address
from llmkit.retrieve.fusion import DEPTH, fuse
from llmkit.retrieve.hits import Find, Hit
from llmkit.workflows.retrieve.embed import OpenEmbedder, open_embedder
from llmkit.workflows.retrieve.index_file import open_index
from llmkit.workflows.retrieve.search import SearchOptions, open_search, ranked_again, weights

_ENGINE_AT_ONCE = 8


@dataclass(frozen=True)
class Finder:
    """An open search; from any thread."""

    find: Find
    at_once: int
    """Searches that may be under way together."""


@contextmanager
def open_finder(index: Path, options: SearchOptions) -> Iterator[Finder]:
    """Open what is searched.

    Args:
        index: a file, or an address as retrieve/engines/address.py has it.
        options: how it is searched.

    Raises:
        UsageError: an address that is none, or options that do not go with what is searched.
        MissingError, DataError, ConfigError: see `open_index` and `open_search`.
        RemoteError: see `EngineClient.ask`.
    """
    if is_engine(str(index)):
        with _open_engine(index, options) as find:
            yield Finder(find, _ENGINE_AT_ONCE)
        return
    if options.key is not None or options.seconds is not None:
        flag = "--index-timeout" if options.key is None else "--index-key"
        raise UsageError(f"{flag} is of a search engine, and {index} is a file", hint="leave it out")
    with open_index(index) as store:
        yield Finder(open_search(store, options, index), 1)


@contextmanager
def _open_engine(index: Path, options: SearchOptions) -> Iterator[Find]:
    from llmkit.retrieve.engines.client import TIMEOUT_SECONDS, EngineClient  # httpx
    from llmkit.retrieve.engines.opensearch import OpenSearchIndex
    from llmkit.retrieve.engines.qdrant import QdrantCollection

    address = read_address(str(index))
    if options.bm25 != Bm25Config():
        raise UsageError(f"{address.shown}: --k1 and --b are the engine's own", hint="set them in its index")
    key = None if options.key is None else read_key(options.key, "--index-key")
    client = EngineClient(address, key=key, seconds=options.seconds or TIMEOUT_SECONDS)
    with closing(client):
        engine = (QdrantCollection if address.kind == "qdrant" else OpenSearchIndex)(client)
        if options.by == "words":
            yield ranked_again(engine.words, options)
            return
        opened = _embedder(index, options, engine.width)
        shares = weights(options, opened.embedding)

        def meaning(query: str, most: int) -> list[Hit]:
            return engine.meaning(opened.embedder.embed([query])[0], most)

        def both(query: str, most: int) -> list[Hit]:
            depth = max(most, DEPTH)
            rankings = [engine.words(query, depth), meaning(query, depth)]
            hits = {hit.id: hit for ranking in rankings for hit in ranking}
            fused = fuse([list({hit.id: None for hit in ranking}) for ranking in rankings], shares, most)
            return [msgspec.structs.replace(hits[identity], score=score) for identity, score in fused]

        yield ranked_again(meaning if options.by == "meaning" else both, options)


def _embedder(index: Path, options: SearchOptions, width: int) -> OpenEmbedder:
    """What makes queries' vectors: an engine does not remember what made its passages'."""
    if not options.embed.is_given:
        raise MissingError(
            f"{index}: what made its vectors is not known there", hint="--embed-url URL, or --embed MODEL"
        )
    opened = open_embedder(options.embed, None, index)
    if width and opened.embedder.width != width:
        raise DataError(
            f"{index}: vectors of {width} numbers, and those of {opened.embedding.model} have "
            f"{opened.embedder.width}",
            hint="name the model that made them: --embed-url, --embed-name or --embed",
        )
    return opened
