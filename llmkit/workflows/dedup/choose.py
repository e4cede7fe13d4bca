"""Which documents go, and what is kept for them.

choose.dropped   a DROPPED for each document that goes, in the order of their numbers
choose.keepers   a KEEPER for each document that others are dropped for, in the order of their numbers
"""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.text.bands import Pairs, join_pairs, key_ranges, split_pairs
from llmkit.text.clusters import Similarities, choose
from llmkit.text.exact import first_of_groups
from llmkit.text.minhash import found_probability
from llmkit.workflows.dedup.components import Rows, component_parts, pairs_of
from llmkit.workflows.dedup.corpus import WORK, Corpus, map_array
from llmkit.workflows.dedup.files import write_array
from llmkit.workflows.dedup.options import DedupConfig
from llmkit.workflows.dedup.pairs import ALIKE, compare
from llmkit.workflows.dedup.shingles import ShingleStore
from llmkit.workflows.dedup.signed import Signed, open_corpus, read_signed
from llmkit.workflows.units import Output, Unit

DROPPED = np.dtype([("document", "<u4"), ("keeper", "<u4"), ("similarity", "<f4")])
_CANDIDATE = np.dtype([("pair", "<u8")])
KEEPER = np.dtype([("document", "<u4"), ("members", "<u4")])
_BYTES_PER_DOCUMENT = 64
"""Of grouping by digest, at its peak."""


class ChooseTask(msgspec.Struct, frozen=True):
    """Chooses among all documents."""

    compared: tuple[str, ...]
    """The units that have compared pairs."""
    memory_bytes: int


def choose_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """Write what is dropped and what is kept for it."""
    task = msgspec.convert(unit.task, ChooseTask)
    signed = read_signed(folder)
    corpus = open_corpus(signed, folder)
    if signed.config.by == "near":
        dropped, facts = _choose_near(corpus, signed, task, folder)
    else:
        dropped, facts = _choose_exact(corpus, task.memory_bytes)
    documents, members = np.unique(dropped["keeper"], return_counts=True)
    keepers = np.empty(len(documents), KEEPER)
    keepers["document"], keepers["members"] = documents, members
    stem = folder / WORK / unit.name
    outputs = [
        write_array(stem.with_suffix(".dropped"), [dropped], folder),
        write_array(stem.with_suffix(".keepers"), [keepers], folder),
    ]
    by_source = Counter(
        zip(corpus.sources_of(dropped["document"]), corpus.sources_of(dropped["keeper"]), strict=True)
    )
    facts |= {
        "clusters": len(keepers),
        "sizes": histogram(members + 1),
        "by_source": [[own, other, count] for (own, other), count in sorted(by_source.items())],
    }
    return outputs, facts


def _choose_near(
    corpus: Corpus, signed: Signed, task: ChooseTask, folder: Path
) -> tuple[NDArray[np.void], dict[str, Any]]:
    """Duplicates by the similarity of their shingles."""
    config = signed.config
    store = ShingleStore.open(signed, folder) if config.verify else None
    names = [f"{name}.alike" for name in task.compared] if config.verify else ["pairs.pairs"]
    files = [map_array(folder / WORK / name, ALIKE if config.verify else _CANDIDATE) for name in names]
    found = [np.empty(0, DROPPED)]
    if any(map(len, files)):
        parts = component_parts(files, corpus.num_documents, task.memory_bytes)
        found = [_choose_part(rows, corpus, signed.config, store) for rows in parts]
    dropped = np.concatenate(found)
    dropped = dropped[np.argsort(dropped["document"])]
    facts: dict[str, Any] = {"pairs": sum(map(len, files)), "missed": None}
    if config.verify:
        alike = np.maximum(dropped["similarity"].astype(np.float64), 1e-3)
        facts["missed"] = round(float((1 / found_probability(alike, config.bands, config.rows) - 1).sum()), 3)
        facts["below"] = int((dropped["similarity"] < config.similarity).sum())
    return dropped, facts


def _choose_part(
    rows: Rows, corpus: Corpus, config: DedupConfig, store: ShingleStore | None
) -> NDArray[np.void]:
    """The documents of some whole components that go: rows of DROPPED."""
    pairs = pairs_of(rows)
    documents, places = np.unique(np.concatenate(split_pairs(pairs)), return_inverse=True)
    local = places.astype(np.uint32)

    def measure(wanted: Pairs) -> Similarities:
        assert store is not None
        first, second = split_pairs(wanted)
        return compare(join_pairs(documents[first], documents[second]), store)

    kept = choose(
        len(documents),
        join_pairs(local[: len(pairs)], local[len(pairs) :]),  # sorted, as their documents are
        corpus.rank(documents),
        compare=None if store is None else measure,
        similarity=config.similarity,
        transitive=config.transitive,
        num_fixed=int(np.searchsorted(documents, corpus.num_fixed)),
        similarities=None if store is None else np.ascontiguousarray(rows["similarity"]),
    )
    gone = np.flatnonzero(kept.keeper != np.arange(len(documents)))
    dropped = np.empty(len(gone), DROPPED)
    dropped["document"], dropped["keeper"] = documents[gone], documents[kept.keeper[gone]]
    dropped["similarity"] = kept.similarity[gone]
    return dropped


def _choose_exact(corpus: Corpus, memory_bytes: int) -> tuple[NDArray[np.void], dict[str, Any]]:
    """Duplicates by equal digests; a document without a digest has no duplicates."""
    found = []
    without = 0
    for low, high in key_ranges(corpus.num_documents, memory_bytes, _BYTES_PER_DOCUMENT):
        parts = []
        for base, unit in zip(corpus.bases.tolist(), corpus.units, strict=False):
            digests = np.asarray(unit.facts["high"])
            places = np.flatnonzero((digests >= np.uint64(low)) & (digests <= np.uint64(high)))
            parts.append((places + base).astype(np.uint32))
        documents = np.concatenate(parts)
        keys, lows = (corpus.facts_of(documents.astype(np.int64), name) for name in ("high", "low"))
        nothing = (keys == 0) & (lows == 0)
        without += int(nothing.sum())
        documents = documents[~nothing & _is_shared(keys)]
        numbers = documents.astype(np.int64)
        high_, low_ = (corpus.facts_of(numbers, name) for name in ("high", "low"))
        rank = corpus.rank(documents)
        keeper = documents[first_of_groups(high_, low_, rank)]
        gone = (keeper != documents) & (documents >= corpus.num_fixed)
        rows = np.empty(int(gone.sum()), DROPPED)
        rows["document"], rows["keeper"], rows["similarity"] = documents[gone], keeper[gone], np.nan
        found.append(rows)
    dropped = np.concatenate(found)
    return dropped[np.argsort(dropped["document"])], {"without_key": without}


def _is_shared(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which keys occur more than once: all others have no duplicate."""
    order = np.argsort(keys)
    same = keys[order][1:] == keys[order][:-1]
    found = np.zeros(len(keys), bool)
    found[order[1:][same]] = True
    found[order[:-1][same]] = True
    return found


def histogram(sizes: NDArray[np.integer]) -> dict[str, int]:
    """How many clusters of 2, 3 to 4, 5 to 8 … documents, the kept one counted."""
    found = {}
    low, high = 2, 2
    while len(sizes) and low <= sizes.max():
        count = int(((sizes >= low) & (sizes <= high)).sum())
        found[str(low) if low == high else f"{low}-{high}"] = count
        low, high = high + 1, high * 2
    return found
