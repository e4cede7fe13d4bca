"""Clusters of documents that are alike, and which of each is kept.

Pairs join documents into components (union-find on one array). In a component the best document is kept,
and those at least as similar to it as the threshold are its duplicates; the best of the rest is kept next,
and so on. So whatever is dropped has a kept document like it, however long the chain that joins them: A like
B like C does not cost C when A, which stays, is unlike it. `transitive` drops the whole component for its
best.

D documents, P pairs. A document's rank says how good it is: 0 is the best. Ranks are different.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from llmkit.text.bands import Pairs, join_pairs, split_pairs

Numbers = NDArray[np.uint32]
Similarities = NDArray[np.float32]
Compare = Callable[[Pairs], Similarities]
"""The Jaccard similarity of each pair."""


class Kept:
    """For each document the one that is kept for it: itself where it is kept. And how alike they are."""

    def __init__(self, num_documents: int) -> None:
        self.keeper: Numbers = np.arange(num_documents, dtype=np.uint32)
        self.similarity: Similarities = np.full(num_documents, np.nan, np.float32)
        """NaN where a document is kept, or where it was not compared."""


def connect(num_documents: int, pairs: Pairs, before: Numbers | None = None) -> Numbers:
    """The component of each document: its lowest member.

    Each round hooks the higher of two roots to the lower, then shortens every path; the number of rounds
    grows with the logarithm of the longest chain.

    Args:
        num_documents: D.
        pairs: (P,)
        before: (D,) what other pairs have connected: pairs may come in parts.
    """
    if before is None:
        before = np.arange(num_documents, dtype=np.uint32)
    parent = before.copy()
    first, second = (parent[column] for column in split_pairs(pairs))
    while len(first):
        low, high = np.minimum(first, second), np.maximum(first, second)
        np.minimum.at(parent, high, low)
        while True:
            above = parent[parent]
            if np.array_equal(above, parent):
                break
            parent = above
        first, second = parent[low], parent[high]
        apart = first != second
        first, second = first[apart], second[apart]
    return parent


def jaccard(
    pairs: Pairs, shingles: NDArray[np.uint32], offsets: NDArray[np.int64], *, elements: int = 1 << 20
) -> Similarities:
    """The Jaccard similarity of each pair: shared shingles over all shingles of both.

    Args:
        pairs: (P,)
        shingles: of all documents, one after another; each document's sorted, each once.
        offsets: (D + 1,): where those of each document begin.
        elements: compared at a time: bounds the memory, at some 40 bytes each.
    """
    first, second = split_pairs(pairs)
    sizes = np.diff(offsets)
    both = sizes[first] + sizes[second]
    found = np.zeros(len(pairs), np.float32)
    start = 0
    ends = np.cumsum(both)
    while start < len(pairs):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + elements, "right")))
        part = slice(start, stop)
        common = _num_common(first[part], second[part], shingles, offsets)
        found[part] = common / np.maximum(both[part] - common, 1)
        start = stop
    return found


def choose(
    num_documents: int,
    pairs: Pairs,
    rank: Numbers,
    *,
    compare: Compare | None,
    similarity: float = 0.0,
    transitive: bool = False,
    num_fixed: int = 0,
    similarities: Similarities | None = None,
) -> Kept:
    """Which documents are kept, and for whom.

    Args:
        num_documents: D.
        pairs: alike, or only candidates where `compare` is None; sorted where `similarities` are given.
        rank: (D,)
        compare: gives similarities; None: nothing is compared, and components go whole.
        similarity: a duplicate is at least so similar to what is kept for it.
        transitive: components go whole, though compared with what is kept.
        num_fixed: the first documents, that are of another corpus: all are kept.
        similarities: of the pairs, where they are known: spares comparing them again.
    """
    kept = Kept(num_documents)
    if not len(pairs):
        return kept
    parent = connect(num_documents, pairs)
    involved = np.unique(np.concatenate(split_pairs(pairs)))
    order = np.lexsort((rank[involved], parent[involved]))
    rest = involved[order]  # component by component, the best first
    transitive = transitive or compare is None
    while len(rest):
        component = parent[rest]
        is_best = np.ones(len(rest), bool)
        is_best[1:] = component[1:] != component[:-1]
        best = rest[is_best][np.cumsum(is_best) - 1]  # of each one's component
        open_ = ~is_best & (rest >= num_fixed)
        others, keepers = rest[open_], best[open_]
        alike = np.ones(len(others), bool)
        if compare is not None:
            measured = _measure(join_pairs(others, keepers), pairs, similarities, compare)
            alike = (measured >= similarity) | transitive
            kept.similarity[others[alike]] = measured[alike]
        kept.keeper[others[alike]] = keepers[alike]
        stays = ~is_best
        stays[np.flatnonzero(open_)[alike]] = False
        rest = rest[stays]
    return kept


def _measure(
    wanted: Pairs, known: Pairs, similarities: Similarities | None, compare: Compare
) -> Similarities:
    """The similarity of each pair, looked up where it is known."""
    if similarities is None:
        return compare(wanted)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    is_known = known[at] == wanted
    found = np.where(is_known, similarities[at], np.float32(0))
    if not is_known.all():
        found[~is_known] = compare(wanted[~is_known])
    return found.astype(np.float32)


def _num_common(
    first: Numbers, second: Numbers, shingles: NDArray[np.uint32], offsets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many shingles each pair has in common: those that stand twice when both lists are sorted as one."""
    tagged = np.concatenate([_tagged(column, shingles, offsets) for column in (first, second)])
    tagged.sort()
    twice = tagged[1:][tagged[1:] == tagged[:-1]]
    return np.bincount((twice >> np.uint64(32)).astype(np.int64), minlength=len(first))


def _tagged(column: Numbers, shingles: NDArray[np.uint32], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The shingles of the documents of a column, with the number of their pair above them."""
    starts, sizes = offsets[column], offsets[column.astype(np.int64) + 1] - offsets[column]
    pair = np.repeat(np.arange(len(column), dtype=np.uint64), sizes)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return (pair << np.uint64(32)) | shingles[np.repeat(starts, sizes) + within]
