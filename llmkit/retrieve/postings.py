"""The inverted index of some passages: for each word, which passages have it and how often.

A word is known by a number (text/shingles.py: case and accents do not count, a character of an unspaced
script is a word of its own), so no word is ever a Python object. Two words of a vocabulary of half a million
share a number about once in a thousand queries, which then find a passage more.

N passages, W different words, P postings (a word in a passage).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmkit.text.shingles import batches, shingle

ALGORITHM = "shingles/1"
"""Which numbers words have: an index made with others is not searched."""
_MOST = np.iinfo(np.uint16).max
_NONE = np.empty(0, np.uint32)


class Postings(NamedTuple):
    """An inverted index as it is stored: little-endian arrays."""

    words: NDArray[np.uint32]
    """(W,): ascending."""
    starts: NDArray[np.uint64]
    """(W + 1,): word i has the postings from starts[i] up to starts[i + 1]."""
    passages: NDArray[np.uint32]
    """(P,): ascending for each word, from 0."""
    counts: NDArray[np.uint16]
    """(P,): how often; more than 65,535 times count for that."""
    lengths: NDArray[np.uint32]
    """(N,): words of each passage."""


class Segment(NamedTuple):
    """An inverted index that is stored, without its postings, which are read word by word."""

    number: int
    """In the index."""
    passages: NDArray[np.int64]
    """(N,): their numbers, ascending."""
    words: NDArray[np.uint32]
    starts: NDArray[np.uint64]
    lengths: NDArray[np.uint32]
    present: NDArray[np.bool_]
    """(N,): whether the passage has not been deleted."""


def word_numbers(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The words of some texts in order, and where each text's begin (one more than there are texts)."""
    parts = [shingle(texts[part], ngram=1) for part in batches([len(text) for text in texts])]
    counts = [np.diff(part.offsets) for part in parts]
    return (
        np.concatenate([(part.hashes >> np.uint64(32)).astype(np.uint32) for part in parts] or [_NONE]),
        np.concatenate(([0], np.cumsum(np.concatenate(counts or [_NONE])))).astype(np.int64),
    )


def build_postings(words: NDArray[np.uint32], offsets: NDArray[np.int64]) -> Postings:
    """The inverted index of passages whose words follow each other as `word_numbers` gives them."""
    lengths = np.diff(offsets).astype(np.uint32)
    keys = words.astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.repeat(np.arange(len(lengths), dtype=np.uint32), lengths)
    keys.sort()
    return _grouped(keys, None, lengths)


def merge_postings(parts: Sequence[Postings], kept: Sequence[NDArray[np.bool_]]) -> Postings:
    """One index of the passages of several, in their order, without those that are not kept.

    Args:
        parts: the indexes.
        kept: of each its passages: whether they stay (N,).
    """
    first = 0
    keys, counts, lengths = [], [], []
    for part, stays in zip(parts, kept, strict=True):
        numbers = first + np.cumsum(stays) - 1
        words = np.repeat(part.words, np.diff(part.starts).astype(np.int64))
        chosen = stays[part.passages]
        owners = numbers[part.passages[chosen]].astype(np.uint64)
        keys.append((words[chosen].astype(np.uint64) << np.uint64(32)) | owners)
        counts.append(part.counts[chosen].astype(np.int64))
        lengths.append(part.lengths[stays])
        first += int(stays.sum())
    joined = np.concatenate(keys)
    order = np.argsort(joined, kind="stable")
    return _grouped(joined[order], np.concatenate(counts)[order], np.concatenate(lengths))


def _grouped(
    keys: NDArray[np.uint64], counts: NDArray[np.int64] | None, lengths: NDArray[np.uint32]
) -> Postings:
    """Sorted keys, word above passage, with equal ones made one: their counts added, or one each."""
    changes = _changes(keys)
    unique = keys[changes]
    begins = np.flatnonzero(changes)
    if counts is None or not len(keys):
        totals = np.append(begins[1:], len(keys)) - begins if len(keys) else begins
    else:
        totals = np.add.reduceat(counts, begins)
    words = (unique >> np.uint64(32)).astype(np.uint32)
    firsts = np.flatnonzero(_changes(words))
    return Postings(
        words[firsts],
        np.append(firsts, len(words)).astype(np.uint64),
        unique.astype(np.uint32),  # the low half
        np.minimum(totals, _MOST).astype(np.uint16),
        lengths,
    )


def _changes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a value is another than the one before; true for the first."""
    changes = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes
