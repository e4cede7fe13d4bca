"""`--by exact`, `paragraph` and `line` on a stream: each document goes out as soon as it has come in.

The first of several duplicates is kept, so no document is looked at twice. Memory holds 24 bytes for each
document or piece. Ids are kept, in a file, only where it is to be said what a document is a duplicate of.
"""

import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from typing import BinaryIO

import msgspec

from llmkit.errors import ResourceError
from llmkit.formats.documents import Document
from llmkit.formats.jsonl import BadLine
from llmkit.text.exact import Seen
from llmkit.text.exact_pieces import split_pieces
from llmkit.workflows.dedup.options import PIECES, DedupConfig
from llmkit.workflows.dedup.pieces import piece_kind
from llmkit.workflows.dedup.read import source_of
from llmkit.workflows.dedup.sign import key_digest
from llmkit.workflows.dedup.write import DocumentWriter


class StreamFacts(msgspec.Struct, frozen=True):
    """What is known at the end."""

    by_source: dict[tuple[str, str], int]
    without_key: int
    sizes: tuple[int, ...]
    """Documents of each cluster."""


def stream_documents(
    documents: Iterable[Document | BadLine],
    writer: DocumentWriter,
    config: DedupConfig,
    *,
    memory_bytes: int,
    after: Callable[[Document | BadLine], None],
) -> StreamFacts:
    """Pass on documents, without what has been there before.

    Args:
        documents: in order.
        writer: where they go.
        config: of a kind that keeps the first.
        memory_bytes: for the digests.
        after: called behind each, to flush what was written or show how far it is.

    Raises:
        ResourceError: the digests do not fit the memory.
    """
    seen, number = Seen(), 0
    with _Names() as names:
        for document in documents:
            if isinstance(document, BadLine):
                writer.bad(document)
            elif config.by in PIECES:
                pieces = split_pieces(document.text, piece_kind(config), min_words=config.min_words)
                writer.cut(document, [one for one in pieces if seen.add(one.digest, 0) is not None])
            else:
                digest = key_digest(document, config)
                first = None if digest == (0, 0) else seen.add(digest, number)
                names.without_key += digest == (0, 0)
                names.keep(document)
                number += 1
                if first is None:
                    writer.keep(document)
                else:
                    writer.duplicate(document, keeper=names.of(first, document), similarity=None)
            if seen.size_bytes > memory_bytes:
                raise ResourceError(
                    f"--memory: {len(seen):,} digests take more than {memory_bytes:,} bytes",
                    hint="allow more, or name an output folder: -o FOLDER sorts on disk",
                )
            after(document)
        return StreamFacts(
            dict(names.by_source), names.without_key, tuple(count + 1 for count in names.keepers.values())
        )


class _Names:
    """The ids and sources of documents by their numbers: in a file, at 12 bytes of memory each."""

    def __init__(self) -> None:
        self.by_source: Counter[tuple[str, str]] = Counter()
        self.keepers: Counter[int] = Counter()
        self.without_key = 0
        self._ends = array("Q")
        self._source = array("L")
        self._sources: dict[str, int] = {}
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> "_Names":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def keep(self, document: Document) -> None:
        """The next document."""
        name = document.id.encode(errors="surrogatepass")
        self._file.write(name)
        self._ends.append((self._ends[-1] if self._ends else 0) + len(name))
        self._source.append(self._sources.setdefault(source_of(document), len(self._sources)))

    def of(self, number: int, duplicate: Document) -> str:
        """The id of one, which a duplicate of it was found for."""
        own, kept = source_of(duplicate), list(self._sources)[self._source[number]]
        self.by_source[own, kept] += 1
        self.keepers[number] += 1
        start = self._ends[number - 1] if number else 0
        self._file.seek(start)
        name = self._file.read(self._ends[number] - start)
        self._file.seek(0, 2)
        return name.decode(errors="surrogatepass")
