"""What is searched: an index of llmkit's, or a collection that another engine holds."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import msgspec

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.key_file import read_key
from llmkit.retrieve.config import SEARCH_SECONDS, Bm25Config
from llmkit.retrieve.engines.address import EngineAddress, is_engine, read_address
from llmkit.retrieve.fusion import DEPTH, fuse
from llmkit.retrieve.hits import Find, Hit
from llmkit.workflows.retrieve.embed import OpenEmbedder, check_embedder_of, check_server, open_embedder
from llmkit.workflows.retrieve.index_file import open_index
from llmkit.workflows.retrieve.search import SearchOptions, no_server, open_search, ranked_again, weights

_SERVER_AT_ONCE = 8
"""Searches that wait for a server of others."""


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
            yield Finder(find, _SERVER_AT_ONCE)
        return
    _require_of_file(index, options)
    with closing(_IndexFinder(index, options)) as finder:
        yield Finder(finder.find, _SERVER_AT_ONCE if finder.asks else 1)


def check_finder(index: Path, options: SearchOptions) -> None:
    """What `open_finder` finds out before it asks a server or reads a weight.

    Raises:
        UsageError, MissingError, DataError, ConfigError: see there.
    """
    if is_engine(str(index)):
        _engine_settings(index, options)
        if options.by != "words":
            _require_embedder(index, options)
            check_server(options.embed)
        return
    _require_of_file(index, options)
    with open_index(index) as store:
        if options.by != "words":
            check_embedder_of(store, options.embed, index)


def _require_of_file(index: Path, options: SearchOptions) -> None:
    """Raises UsageError where an option is of an engine, and an index file has nothing of it."""
    if options.key is not None or (options.seconds is not None and options.by == "words"):
        raise no_server(options, index)


class _OpenIndex:
    """An index file that is open, for as long as somebody searches it."""

    def __init__(self, index: Path, options: SearchOptions) -> None:
        self.file = _file_at(index)  # before it is opened: another that comes meanwhile is seen by `find`
        self.searching = 0
        with ExitStack() as stack:
            store = stack.enter_context(open_index(index))
            self.search = stack.enter_context(closing(open_search(store, options, index)))
            self.close = stack.pop_all().close


class _IndexFinder:
    """The search of an index file, and of the one that has taken its place: `retrieve index --force`."""

    def __init__(self, index: Path, options: SearchOptions) -> None:
        self._index, self._options = index, options
        self._turn = Lock()
        self._opened = _OpenIndex(index, options)

    @property
    def asks(self) -> bool:
        """Whether searches wait for a server."""
        return self._opened.search.asks

    def find(self, query: str, most: int) -> list[Hit]:
        with self._now() as opened:
            return opened.search(query, most)

    def close(self) -> None:
        self._opened.close()

    @contextmanager
    def _now(self) -> Iterator[_OpenIndex]:
        """The file that is there now; one that was there is closed with its last search."""
        with self._turn:
            file = _file_at(self._index)
            if file is not None and file != self._opened.file:
                before, self._opened = self._opened, _OpenIndex(self._index, self._options)
                if not before.searching:
                    before.close()
            opened = self._opened
            opened.searching += 1
        try:
            yield opened
        finally:
            with self._turn:
                opened.searching -= 1
                if opened is not self._opened and not opened.searching:
                    opened.close()


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file is at a path; its number is not given to another while it is open."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _open_engine(index: Path, options: SearchOptions) -> Iterator[Find]:
    from llmkit.retrieve.engines.client import EngineClient  # httpx
    from llmkit.retrieve.engines.opensearch import OpenSearchIndex
    from llmkit.retrieve.engines.qdrant import QdrantCollection

    address, key = _engine_settings(index, options)
    seconds = options.seconds or SEARCH_SECONDS
    with ExitStack() as stack:
        client = EngineClient(address, key=key, seconds=seconds, flags=options.flags)
        stack.callback(client.close)
        engine = (QdrantCollection if address.kind == "qdrant" else OpenSearchIndex)(client)
        if options.by == "words":
            yield ranked_again(engine.words, options)
            return
        opened = stack.enter_context(closing(_embedder(index, options, engine.width, seconds)))
        shares = weights(options, opened.embedding)

        def meaning(query: str, most: int) -> list[Hit]:
            return engine.meaning(opened.embedder.embed_query(query), most)

        def both(query: str, most: int) -> list[Hit]:
            depth = max(most, DEPTH)
            rankings = [engine.words(query, depth), meaning(query, depth)]
            hits = {hit.id: hit for ranking in rankings for hit in ranking}
            fused = fuse([list({hit.id: None for hit in ranking}) for ranking in rankings], shares, most)
            return [msgspec.structs.replace(hits[identity], score=score) for identity, score in fused]

        yield ranked_again(meaning if options.by == "meaning" else both, options)


def _engine_settings(index: Path, options: SearchOptions) -> tuple[EngineAddress, str | None]:
    """Where an engine is, and its key.

    Raises:
        UsageError, MissingError, DataError: see `read_address` and `read_key`; also an option of a file.
    """
    address, flags = read_address(str(index)), options.flags
    if options.bm25 != Bm25Config():
        raise UsageError(f"{address.shown}: --k1 and --b are the engine's own", hint="set them in its index")
    return address, None if options.key is None else read_key(options.key, flags.key or "")


def _require_embedder(index: Path, options: SearchOptions) -> None:
    """Raises MissingError: an engine does not remember what made its passages' vectors."""
    if not options.embed.is_given:
        raise MissingError(
            f"{index}: what made its vectors is not known there", hint=options.flags.embed_hint
        )


def _embedder(index: Path, options: SearchOptions, width: int, seconds: float) -> OpenEmbedder:
    """What makes queries' vectors."""
    _require_embedder(index, options)
    with ExitStack() as stack:
        opened = stack.enter_context(closing(open_embedder(options.embed, None, index, seconds=seconds)))
        if width and opened.embedder.width != width:
            raise DataError(
                f"{index}: vectors of {width} numbers, and those of {opened.embedding.model} have "
                f"{opened.embedder.width}",
                hint=f"name the model that made them: {options.flags.embed_hint}",
            )
        stack.pop_all()
    return opened
