"""`--by near`: documents that share a band are candidates; candidates that are similar enough are pairs.

band-00.pairs      candidates of one band, sorted
pairs.pairs        of all bands, each once, sorted
pairs.documents    uint32: the documents in them, sorted
compare-00.alike   ALIKE: pairs that are similar enough, and how similar, sorted
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.text.bands import Pairs, candidate_pairs, join_pairs, key_ranges, split_pairs
from llmkit.text.clusters import jaccard
from llmkit.workflows.dedup.corpus import WORK, Corpus, map_array
from llmkit.workflows.dedup.files import write_array
from llmkit.workflows.dedup.shingles import ShingleStore
from llmkit.workflows.dedup.signed import open_corpus, read_signed
from llmkit.workflows.units import Output, Unit

ALIKE = np.dtype([("pair", "<u8"), ("similarity", "<f4")])
_PAIR = np.dtype("<u8")
_BYTES_PER_KEY = 40
"""Of the sort of one band, at its peak."""
_BYTES_PER_PAIR = 40
_PAIRS_AT_A_TIME = 1 << 15


class BandTask(msgspec.Struct, frozen=True):
    """Finds the candidates of some bands, among all documents."""

    bands: tuple[int, ...]
    memory_bytes: int


class MergeTask(msgspec.Struct, frozen=True):
    """Joins the candidates of all bands."""

    names: tuple[str, ...]
    memory_bytes: int


class CompareTask(msgspec.Struct, frozen=True):
    """Compares some of the candidates, from one row to another."""

    start: int
    stop: int


def band_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """The candidates of some bands, the documents without shingles left out."""
    task = msgspec.convert(unit.task, BandTask)
    corpus = open_corpus(read_signed(folder), folder)
    pairs = np.empty(0, np.uint64)
    for band in task.bands:
        for low, high in key_ranges(corpus.num_documents, task.memory_bytes, _BYTES_PER_KEY):
            found = _pairs_of_band(corpus, band, low, high)
            found = found[split_pairs(found)[1] >= corpus.num_fixed]  # the index has no duplicates to lose
            pairs = np.union1d(pairs, found) if len(pairs) else found
    return [write_array(folder / WORK / f"{unit.name}.pairs", [pairs], folder)], {"pairs": len(pairs)}


def _pairs_of_band(corpus: Corpus, band: int, low: int, high: int) -> Pairs:
    """The candidates whose numbers in a band are within a range."""
    keys, documents = [], []
    for base, unit in zip(corpus.bases.tolist(), corpus.units, strict=False):
        numbers = unit.band(band)
        inside = (numbers >= np.uint64(low)) & (numbers <= np.uint64(high))
        places = np.flatnonzero(inside & (unit.facts["elements"] > 0))
        keys.append(numbers[places])
        documents.append((places + base).astype(np.uint32))
    all_keys, all_documents = np.concatenate(keys), np.concatenate(documents)
    del keys, documents
    return candidate_pairs(all_keys, all_documents, corpus.digests_of)


def merge_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """The candidates of all bands, each once, and the documents in them."""
    task = msgspec.convert(unit.task, MergeTask)
    signed = read_signed(folder)
    corpus = open_corpus(signed, folder)
    bands = [map_array(folder / WORK / f"{name}.pairs", _PAIR) for name in task.names]
    is_in = np.zeros(corpus.num_documents, bool)
    stem = folder / WORK / unit.name
    count = 0

    def merged() -> Iterator[Pairs]:
        nonlocal count
        parts = max(1, -(-sum(map(len, bands)) * _BYTES_PER_PAIR // task.memory_bytes))
        edges = np.array([corpus.num_documents * part // parts << 32 for part in range(parts + 1)], np.uint64)
        for part in range(parts):
            cut = [slice(*np.searchsorted(one, edges[part : part + 2])) for one in bands]
            pairs = np.unique(np.concatenate([one[own] for one, own in zip(bands, cut, strict=True)]))
            for column in split_pairs(pairs):
                is_in[column] = True
            count += len(pairs)
            yield pairs

    outputs = [write_array(stem.with_suffix(".pairs"), merged(), folder)]
    documents = np.flatnonzero(is_in).astype(np.uint32)
    outputs.append(write_array(stem.with_suffix(".documents"), [documents], folder))
    return outputs, {"pairs": count, "documents": len(documents)}


def compare_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """The pairs of one part that are similar enough."""
    task = msgspec.convert(unit.task, CompareTask)
    pairs = map_array(folder / WORK / "pairs.pairs", _PAIR)
    signed = read_signed(folder)
    store = ShingleStore.open(signed, folder)

    def alike() -> Iterator[NDArray[np.void]]:
        for first in range(task.start, task.stop, _PAIRS_AT_A_TIME):
            part = np.asarray(pairs[first : min(first + _PAIRS_AT_A_TIME, task.stop)])
            similarity = compare(part, store)
            kept = np.flatnonzero(similarity >= signed.config.similarity)
            rows = np.empty(len(kept), ALIKE)
            rows["pair"], rows["similarity"] = part[kept], similarity[kept]
            yield rows

    output = write_array(folder / WORK / f"{unit.name}.alike", alike(), folder)
    return [output], {"compared": task.stop - task.start, "alike": output.rows}


def compare(pairs: Pairs, store: ShingleStore) -> NDArray[np.float32]:
    """The Jaccard similarity of pairs of documents, by their numbers in the corpus."""
    first, second = split_pairs(pairs)
    documents, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    shingles, offsets = store.gather(documents)
    local = places.astype(np.uint32)
    return jaccard(join_pairs(local[: len(pairs)], local[len(pairs) :]), shingles, offsets)
