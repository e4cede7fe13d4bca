"""What is searched: an index of llmkit's, or a collection that another engine holds."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

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
    with closing(_IndexFinder(index, options)) as finder:
        yield Finder(finder.find, 1)


class _IndexFinder:
    """The search of an index file, and of the one that has taken its place: `retrieve index --force`."""

    def __init__(self, index: Path, options: SearchOptions) -> None:
        self._index, self._options = index, options
        self._turn = Lock()
        self._open()

    def find(self, query: str, most: int) -> list[Hit]:
        with self._turn:
            file = _file_at(self._index)
            if file is not None and file != self._file:
                before = self._opened
                self._open()
                before.close()
            return self._find(query, most)

    def close(self) -> None:
        self._opened.close()

    def _open(self) -> None:
        file = _file_at(self._index)  # before it is opened: another that comes meanwhile is seen by `find`
        with ExitStack() as stack:
            store = stack.enter_context(open_index(self._index))
            self._find = open_search(store, self._options, self._index)
            self._file, self._opened = file, stack.pop_all()


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file is at a path; its number is not given to another while it is open."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


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
