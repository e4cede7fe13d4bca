"""Searching an index for the passages that answer a query best, by their words.

Words are taken from the rarest on. Once `most` passages stand above all that the words still to come can add,
no other passage can catch up, and those words are looked up in the few that are left (MaxScore: Turtle and
Flood, 1995). The result is that of adding everything up.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmkit.retrieve.bm25 import best, idf, length_norm, word_scores
from llmkit.retrieve.config import Bm25Config
from llmkit.retrieve.postings import word_numbers
from llmkit.retrieve.store import Store

_FEW = 1_000
"""Postings that are added up sooner than it is found out whether that is needed."""
_KEPT = 16_000_000
"""Postings kept in memory: 96 MB."""


class Found(NamedTuple):
    """A passage that a search found."""

    passage: int
    """Its number."""
    score: float


_Postings = list[tuple[NDArray[np.uint32], NDArray[np.uint16]] | None]
"""Of a word, in each segment."""


class _Word(NamedTuple):
    postings: _Postings
    weight: float
    """The most that it adds to a passage."""
    df: int


class WordSearch:
    """BM25 over an index as it is now; see retrieve/bm25.py."""

    def __init__(self, store: Store, config: Bm25Config) -> None:
        self._store = store
        self._segments = store.segments()
        self._num_passages = sum(int(one.present.sum()) for one in self._segments)
        total = sum(int(one.lengths[one.present].sum()) for one in self._segments)
        mean = total / self._num_passages if self._num_passages else 0.0
        self._norms = [length_norm(one.lengths, mean, config) for one in self._segments]
        self._common: dict[int, _Postings] = {}
        self._num_common = 0

    def search(self, query: str, most: int) -> list[Found]:
        """The passages with the highest scores, the best first; of equal ones the first added."""
        words = self._words(query)
        scores = [np.zeros(len(one.lengths), np.float32) for one in self._segments]
        left: list[NDArray[np.int64]] | None = None
        to_come = sum(word.weight for word in words)
        for word in words:
            if left is None and word.df > _FEW:
                left = _left(scores, most, to_come)
            for number, postings in enumerate(word.postings):
                if postings is not None:
                    passages, counts = postings
                    if left is not None:
                        passages, counts = _only(passages, counts, left[number])
                    norm = self._norms[number][passages]
                    scores[number][passages] += word_scores(counts, norm, word.weight)
            to_come -= word.weight
        hits = [
            Found(int(segment.passages[place]), float(own[place]))
            for segment, own in zip(self._segments, scores, strict=True)
            for place in best(own, most)
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.passage))[:most]

    def _words(self, query: str) -> list[_Word]:
        """The query's words that the index has, the rarest first."""
        found = []
        for number, times in Counter(word_numbers([query])[0].tolist()).items():
            postings = self._postings(number)
            df = _df(postings)
            if df:
                found.append(_Word(postings, times * idf(self._num_passages, df), df))
        return sorted(found, key=lambda word: word.df)

    def _postings(self, word: int) -> _Postings:
        """Those of common words are kept: most queries have some of them."""
        postings = self._common.get(word)
        if postings is None:
            postings = [self._store.postings_of(segment, word) for segment in self._segments]
            df = _df(postings)
            if df > _FEW and self._num_common + df < _KEPT:
                self._common[word] = postings
                self._num_common += df
        return postings


def _df(postings: _Postings) -> int:
    return sum(len(one[0]) for one in postings if one is not None)


def _left(scores: list[NDArray[np.float32]], most: int, to_come: float) -> list[NDArray[np.int64]] | None:
    """The places that can still be among the best; None where that may be any."""
    found = [np.flatnonzero(own) for own in scores]
    values = np.concatenate([own[places] for own, places in zip(scores, found, strict=True)])
    if len(values) < most:
        return None
    least = np.partition(values, len(values) - most)[len(values) - most]
    if least <= to_come * 1.0001:  # rounding of the sums to come
        return None
    return [
        places[own[places] >= least - to_come * 1.0001] for own, places in zip(scores, found, strict=True)
    ]


def _only(
    passages: NDArray[np.uint32], counts: NDArray[np.uint16], left: NDArray[np.int64]
) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """The postings of the passages that are left."""
    places = np.searchsorted(passages, left.astype(np.uint32))
    places[places == len(passages)] = 0
    places = places[passages[places] == left]
    return passages[places], counts[places]
