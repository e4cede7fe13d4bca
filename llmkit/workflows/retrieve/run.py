"""One run of a searching subcommand: an index, the queries, and where results go."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from llmkit.formats.jsonl import OnBad, encode_line, raw
from llmkit.formats.rejects import BadLines, bad_lines
from llmkit.formats.streams import is_terminal, open_output
from llmkit.retrieve.engines.address import is_engine
from llmkit.retrieve.hits import Find, Hit
from llmkit.workflows.retrieve.finder import open_finder
from llmkit.workflows.retrieve.query import Query, answer_queries, find_documents, read_queries
from llmkit.workflows.retrieve.search import SearchOptions


@dataclass(frozen=True, kw_only=True)
class RetrieveOptions:
    """What is looked for, where, and what becomes of it."""

    index: Path
    """A file, or the address of a collection."""
    text: str | None = None
    """A query; None: those of `queries`."""
    queries: tuple[Path, ...] = ()
    key: str | None = None
    """The key of a query; None: see `read_queries`."""
    most: int = 5
    """Passages a query."""
    search: SearchOptions = field(default_factory=SearchOptions)
    out: Path | None = None
    force: bool = False
    skip_bad: bool = False
    rejects: Path | None = None
    unbuffered: bool = False


@dataclass
class Run:
    """An index that is open, with everything around it."""

    options: RetrieveOptions
    find: Find
    bad: BadLines
    stream: BinaryIO
    inputs: Sequence[Path] = ()
    """Files that are read, which no output may replace."""
    asked: int = 0
    """Queries so far."""
    found: int = 0
    """Passages so far."""

    def answers(self) -> Iterator[tuple[Query, list[Hit]]]:
        """Each query with what was found, the best first."""
        options = self.options
        queries = _asked(options, self.bad.on_bad)
        for query, hits in answer_queries(queries, self.find, most=options.most):
            self.asked += 1
            self.found += len(hits)
            yield query, hits

    def documents(self) -> Iterator[tuple[Query, list[str]]]:
        """Each query with the documents of what was found, the best first; `most` are of documents."""
        for query in _asked(self.options, self.bad.on_bad):
            yield query, find_documents(query.text, self.find, most=self.options.most)

    def write(self, content: bytes) -> None:
        """Write one result, at once where somebody waits for it."""
        self.stream.write(content)
        if self.options.unbuffered or is_terminal(self.options.out):
            self.stream.flush()

    def write_record(self, query: Query, **more: Any) -> None:
        """Write a query's record with more keys."""
        self.write(encode_line({**query.record, **{name: raw(value) for name, value in more.items()}}))


@contextmanager
def open_run(command: str, options: RetrieveOptions, inputs: Iterable[Path] = ()) -> Iterator[Run]:
    """Open everything that a run reads and writes.

    Args:
        command: as `retrieve query`, for the rejects.
        options: what is asked for.
        inputs: other files that are read.

    Raises:
        UsageError, MissingError, DataError: something is not there, or would be overwritten.
    """
    read = [*options.queries, *options.search.files, *inputs]
    if not is_engine(str(options.index)):
        read.append(options.index)
    files: dict[str, Any] = {"force": options.force, "inputs": read}
    with (
        open_finder(options.index, options.search) as finder,
        bad_lines(command, skip=options.skip_bad, rejects=options.rejects, out=options.out, **files) as bad,
        open_output(options.out, **files) as stream,
    ):
        yield Run(options, finder.find, bad, stream, read)


def _asked(options: RetrieveOptions, on_bad: OnBad | None) -> Iterator[Query]:
    if options.text is not None:
        yield Query(options.text, {"query": raw(options.text)})
    for path in options.queries:
        yield from read_queries(path, options.key, on_bad=on_bad)
