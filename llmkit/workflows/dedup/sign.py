"""The first pass over the documents: the numbers that each is compared by. corpus.py has their files."""

from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.formats.documents import Document
from llmkit.text.clusters_prefer import FIRST, badness
from llmkit.text.exact import digest_of
from llmkit.text.minhash import band_keys, signatures
from llmkit.text.shingles import BATCH_CHARACTERS, shingle
from llmkit.workflows.dedup.corpus import BLOCK, FACTS, WORK
from llmkit.workflows.dedup.files import open_parts
from llmkit.workflows.dedup.options import DedupConfig
from llmkit.workflows.dedup.read import good_documents, source_of, value_at
from llmkit.workflows.units import Output, Piece, Unit, output_of


class SignTask(msgspec.Struct, frozen=True):
    """The settings of the pass, and the input of one unit."""

    pieces: tuple[Piece, ...]
    config: DedupConfig
    skips_bad: bool


def sign_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """Write the numbers of the documents of one unit."""
    task = msgspec.convert(unit.task, SignTask)
    stem = f"{folder / WORK / unit.name}"
    paths = [Path(f"{stem}{suffix}") for suffix in (".facts", ".prefer", ".ids", ".bands")]
    with open_parts(paths if task.config.by == "near" else paths[:-1]) as streams:
        signer = _Signer(task.config, streams)
        for document in good_documents(task.pieces, field=task.config.field, skips_bad=task.skips_bad):
            signer.take(document)
        signer.settle()
    rows = signer.num_documents
    return [output_of(path, folder, rows) for path in paths if path.exists()], signer.report()


class _Signer:
    """Takes documents one by one, does the arithmetic for many at a time, and writes block after block."""

    def __init__(self, config: DedupConfig, streams: list[BinaryIO]) -> None:
        self.num_documents = 0
        self._config = config
        self._streams = streams
        self._terms = [term for term in config.terms if term is not FIRST]
        self._rows: list[tuple[int, ...]] = []
        self._prefer: list[float] = []
        self._having = [0] * len(self._terms)
        self._ids: list[bytes] = []
        self._id_end = 0
        self._sources: dict[str, int] = {}
        self._texts: list[str] = []
        self._characters = 0
        self._bytes = 0
        self._bands: list[NDArray[np.uint64]] = []
        self._elements: list[NDArray[np.uint32]] = []

    def take(self, document: Document) -> None:
        """Add a document."""
        encoded = document.text.encode(errors="surrogatepass")
        self._bytes += len(encoded)
        content = digest_of(encoded)
        self._ids.append(document.id.encode(errors="surrogatepass"))
        self._id_end += len(self._ids[-1])
        source = self._sources.setdefault(source_of(document), len(self._sources))
        self._rows.append((*key_digest(document, self._config, content), content[0], self._id_end, source, 0))
        for number, term in enumerate(self._terms):
            value = _preferred(term.paths, document, len(encoded))
            self._prefer.append(badness(term, value, document.where))
            self._having[number] += value is not None
        if self._config.by == "near":
            self._texts.append(document.text)
            self._characters += len(document.text)
            if self._characters >= BATCH_CHARACTERS:
                self._sign()
        if len(self._rows) == BLOCK:
            self.settle()

    def settle(self) -> None:
        """Write the block that is waiting."""
        if not self._rows:
            return
        self._sign()
        facts = np.array(self._rows, FACTS)
        if self._config.by == "near":
            facts["elements"] = np.concatenate(self._elements)
            self._streams[3].write(np.concatenate(self._bands, axis=1).data)
        self._streams[0].write(facts.data)
        self._streams[1].write(np.array(self._prefer, "<f8").data)
        self._streams[2].write(b"".join(self._ids))
        self.num_documents += len(facts)
        for waiting in (self._rows, self._prefer, self._ids, self._bands, self._elements):
            waiting.clear()

    def report(self) -> dict[str, Any]:
        """What is to be known of the unit; `having`: documents with a value for each preferred term."""
        return {
            "documents": self.num_documents,
            "bytes": self._bytes,
            "sources": list(self._sources),
            "having": self._having,
        }

    def _sign(self) -> None:
        """The bands of the texts that are waiting."""
        if not self._texts:
            return
        config = self._config
        shingled = shingle(self._texts, ngram=config.ngram, unit=config.unit)
        signed = signatures(shingled, config.bands * config.rows)
        self._bands.append(band_keys(signed, config.bands, config.rows))
        self._elements.append(np.diff(shingled.offsets).astype(np.uint32))
        self._texts, self._characters = [], 0


def key_digest(
    document: Document, config: DedupConfig, content: tuple[int, int] | None = None
) -> tuple[int, int]:
    """The digest of what has to be equal, (0, 0) where a document has nothing there.

    Args:
        document: one.
        config: by near it is the text, like by exact with the key of the text.
        content: that of the text, where it is known.
    """
    if config.by != "exact" or config.key == config.field:
        return content or digest_of(document.text.encode(errors="surrogatepass"))
    value = value_at(document.record, config.key)
    if value is None or value == "":
        return 0, 0
    return digest_of(value.encode() if isinstance(value, str) else msgspec.json.encode(value))


def _preferred(paths: tuple[str, ...], document: Document, num_bytes: int) -> Any:
    """The value that a preference looks at."""
    if paths == ("length",):
        return num_bytes
    if paths == ("source",):
        return source_of(document)
    found = (value_at(document.record, path) for path in paths)
    return next((value for value in found if value is not None), None)
