"""`--by near`: the shingles of the candidates, kept in files so that pairs can be compared as sets.

shingles-00000.sets     uint32: of each candidate of a unit, sorted, one behind the other
shingles-00000.counts   uint32: how many each has
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.text.shingles import BATCH_CHARACTERS, shingle, shingle_set
from llmkit.workflows.dedup.corpus import WORK, map_array
from llmkit.workflows.dedup.files import open_parts
from llmkit.workflows.dedup.options import DedupConfig
from llmkit.workflows.dedup.read import good_documents
from llmkit.workflows.dedup.signed import INDEX_STEM, Signed, open_corpus
from llmkit.workflows.units import Output, Piece, Unit, output_of

_NUMBER = np.dtype("<u4")


class ShingleTask(msgspec.Struct, frozen=True):
    """Reads the input of a unit a second time."""

    pieces: tuple[Piece, ...]
    config: DedupConfig
    skips_bad: bool
    first: int
    """Number of its first document in the corpus."""
    documents: int
    all_of_them: bool
    """Whether an index is to be saved: then any may be asked for."""


def shingle_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """Write the shingles of the candidates of a unit."""
    task = msgspec.convert(unit.task, ShingleTask)
    wanted = set(_wanted(folder, task.first, task.documents, task.all_of_them).tolist())
    stem = f"{folder / WORK / unit.name}"
    paths = [Path(f"{stem}.sets"), Path(f"{stem}.counts")]
    texts: list[str] = []
    characters = 0
    with open_parts(paths) as (sets, counts):
        documents = good_documents(task.pieces, field=task.config.field, skips_bad=task.skips_bad)
        for number, document in enumerate(documents, task.first):
            if number not in wanted:
                continue
            texts.append(document.text)
            characters += len(document.text)
            if characters >= BATCH_CHARACTERS:
                _write_sets(texts, task.config, sets, counts)
                texts, characters = [], 0
        _write_sets(texts, task.config, sets, counts)
    return [output_of(path, folder, len(wanted)) for path in paths], {"documents": len(wanted)}


class ShingleStore:
    """The sets of shingles by the numbers of their documents, mapped."""

    def __init__(
        self, parts: list[tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]]
    ) -> None:
        """parts: documents (sorted), their counts, and the shingles, of each unit in order."""
        self._parts = [
            (documents, np.concatenate(([0], np.cumsum(counts, dtype=np.int64))), shingles)
            for documents, counts, shingles in parts
        ]

    @staticmethod
    def open(signed: Signed, folder: Path) -> "ShingleStore":
        """The sets that the units have written, and those of the index."""
        corpus = open_corpus(signed, folder)
        stems = [folder / WORK / name.replace("sign", "shingles") for name in signed.names]
        if signed.index is not None:
            stems.insert(0, Path(signed.index) / INDEX_STEM)
        parts = []
        for number, stem in enumerate(stems):
            first, stop = corpus.bases[number : number + 2].tolist()
            is_index = signed.index is not None and number == 0
            documents = _wanted(folder, first, stop - first, signed.all_sets or is_index)
            counts, sets = (map_array(Path(f"{stem}{suffix}"), _NUMBER) for suffix in (".counts", ".sets"))
            parts.append((documents, counts, sets))
        return ShingleStore(parts)

    def gather(self, documents: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The sets of some documents, in increasing order: one behind the other, and where each begins."""
        found, sizes = [], []
        for own, offsets, shingles in self._parts:
            if not len(own):
                continue
            low = int(np.searchsorted(documents, own[0], "left"))
            high = int(np.searchsorted(documents, own[-1], "right"))
            if low == high:
                continue
            places = np.searchsorted(own, documents[low:high])
            starts, counts = offsets[places], offsets[places + 1] - offsets[places]
            before = np.cumsum(counts) - counts
            found.append(np.asarray(shingles[np.repeat(starts - before, counts) + np.arange(counts.sum())]))
            sizes.append(counts)
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(sizes or [np.empty(0, np.int64)]))])
        return np.concatenate(found or [np.empty(0, np.uint32)]), offsets.astype(np.int64)


def _wanted(folder: Path, first: int, documents: int, all_of_them: bool) -> NDArray[np.uint32]:
    """The numbers of the documents of a unit whose shingles are kept."""
    if all_of_them:
        return np.arange(first, first + documents, dtype=np.uint32)
    candidates = map_array(folder / WORK / "pairs.documents", _NUMBER)
    start, stop = np.searchsorted(candidates, [first, first + documents]).tolist()
    return np.asarray(candidates[start:stop])


def _write_sets(texts: list[str], config: DedupConfig, sets: Any, counts: Any) -> None:
    """Append the sets of some texts to the files."""
    if not texts:
        return
    shingled = shingle(texts, ngram=config.ngram, unit=config.unit)
    found = [
        shingle_set(shingled.hashes[start:stop])
        for start, stop in zip(shingled.offsets.tolist(), shingled.offsets[1:].tolist(), strict=False)
    ]
    sets.write(np.concatenate(found).data)
    counts.write(np.array([len(one) for one in found], _NUMBER).data)
