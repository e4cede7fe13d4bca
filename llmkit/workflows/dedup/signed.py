"""What the first pass has written, opened for later units; with the index that was given, if any."""

from pathlib import Path

import msgspec

from llmkit.formats.atomic import write_atomic
from llmkit.workflows.dedup.corpus import WORK, Corpus, SignedUnit
from llmkit.workflows.dedup.options import DedupConfig

INDEX_STEM = "documents"
"""Of the files of an index, in its folder."""
_FILE = "signed.json"


class Signed(msgspec.Struct, frozen=True):
    """`work/signed.json`: where the files of the first pass are."""

    config: DedupConfig
    names: tuple[str, ...]
    """Of the units that have signed, in order."""
    sources: tuple[tuple[str, ...], ...]
    """Of each unit."""
    all_sets: bool = False
    """Whether the shingles of every document are kept, for an index that is to be saved."""
    index: str | None = None
    """Folder of the index."""
    index_sources: tuple[str, ...] = ()


def write_signed(signed: Signed, folder: Path) -> None:
    """Write it for later units."""
    write_atomic(folder / WORK / _FILE, msgspec.json.encode(signed))


def read_signed(folder: Path) -> Signed:
    """Read it."""
    return msgspec.json.decode((folder / WORK / _FILE).read_bytes(), type=Signed)


def open_corpus(signed: Signed, folder: Path) -> Corpus:
    """The facts of all documents, those of the index first."""
    terms = signed.config.terms
    num_terms = len([term for term in terms if term.order != "first"])
    units = [
        SignedUnit(str(folder / WORK / name), sources, num_terms)
        for name, sources in zip(signed.names, signed.sources, strict=True)
    ]
    if signed.index is not None:
        units.insert(0, SignedUnit(str(Path(signed.index) / INDEX_STEM), signed.index_sources, num_terms))
    return Corpus(units, terms, has_index=signed.index is not None)
