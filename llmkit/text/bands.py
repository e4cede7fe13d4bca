"""Candidate pairs: documents that have the number of a band in common.

A run is a set of documents with one number in one band. A short run gives all its pairs. A long one would
give its square of them: it gives a star from one member and a chain through all instead, twice its length,
and clusters come out the same wherever its members are alike. Star and chain follow the documents' own
digests, so that the order of the documents is of no account.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from llmkit.text.shingles import Hashes

LONG_RUN = 8
"""Members of a run from which it gives a star and a chain."""

Pairs = NDArray[np.uint64]
"""first << 32 | second, first < second: documents by number."""


def key_ranges(num_keys: int, memory_bytes: int, bytes_per_key: int) -> Iterator[tuple[int, int]]:
    """Ranges of 64-bit numbers, in order, each with about as many well-mixed keys as the memory holds.

    Yields:
        First number, and last (inclusive).
    """
    parts = max(1, -(-num_keys * bytes_per_key // max(1, memory_bytes)))
    for part in range(parts):
        yield (part << 64) // parts, (((part + 1) << 64) // parts) - 1


def candidate_pairs(
    keys: Hashes, documents: NDArray[np.uint32], digests_of: Callable[[NDArray[np.uint32]], Hashes]
) -> Pairs:
    """The pairs of one band, sorted, each once.

    Args:
        keys: (n,) the band's number of each document.
        documents: (n,) their numbers.
        digests_of: of some documents: what orders a long run.
    """
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    is_first = np.ones(len(keys) + 1, bool)
    np.not_equal(sorted_keys[1:], sorted_keys[:-1], out=is_first[1:-1])
    del sorted_keys
    starts = np.flatnonzero(is_first)
    lengths = np.diff(starts)
    members = documents[order]
    del order
    found = [_all_pairs(members, starts[:-1][lengths == size], size) for size in range(2, LONG_RUN + 1)]
    for run in np.flatnonzero(lengths > LONG_RUN):
        found.append(_star_and_chain(members[starts[run] : starts[run + 1]], digests_of))
    return np.unique(np.concatenate(found))


def join_pairs(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> Pairs:
    """Two columns of document numbers as pairs, the lower one first."""
    low, high = np.minimum(first, second), np.maximum(first, second)
    return (low.astype(np.uint64) << np.uint64(32)) | high


def split_pairs(pairs: Pairs) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The two columns of pairs."""
    return (pairs >> np.uint64(32)).astype(np.uint32), pairs.astype(np.uint32)


def _all_pairs(members: NDArray[np.uint32], starts: NDArray[np.int64], size: int) -> Pairs:
    runs = members[starts[:, None] + np.arange(size)]  # (runs, size)
    first, second = np.triu_indices(size, 1)
    return join_pairs(runs[:, first].ravel(), runs[:, second].ravel())


def _star_and_chain(run: NDArray[np.uint32], digests_of: Callable[[NDArray[np.uint32]], Hashes]) -> Pairs:
    ordered = run[np.argsort(digests_of(run), kind="stable")]
    hub = np.full(len(run) - 1, ordered[0])
    return np.concatenate([join_pairs(hub, ordered[1:]), join_pairs(ordered[:-1], ordered[1:])])
