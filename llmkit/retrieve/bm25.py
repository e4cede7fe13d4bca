"""BM25: how well a passage answers a query, from how often it has the query's words and how rare they are.

    score = sum over words of  idf * tf / (tf + k1 * (1 - b + b * length / mean length))
    idf = ln(1 + (N - df + 0.5) / (df + 0.5))

N passages, df of them with the word, tf times in this one. A word that the query repeats counts as often.

Source: Robertson et al., TREC-3, 1994; idf and the missing factor k1 + 1 as Lucene 8 and bm25s (method
"lucene") have them.
"""

import numpy as np
from numpy.typing import NDArray

from llmkit.retrieve.config import Bm25Config


def idf(num_passages: int, num_with: int) -> float:
    """How rare a word is."""
    return float(np.log1p((num_passages - num_with + 0.5) / (num_with + 0.5)))


def length_norm(lengths: NDArray[np.uint32], mean: float, config: Bm25Config) -> NDArray[np.float32]:
    """What is added to tf below the line, for each passage."""
    share = lengths.astype(np.float64) / mean if mean else np.zeros(len(lengths))
    return (config.k1 * (1 - config.b + config.b * share)).astype(np.float32)


def word_scores(counts: NDArray[np.uint16], norm: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    """What a word adds to the passages that have it.

    Args:
        counts: tf of each.
        norm: their `length_norm`.
        weight: the word's idf, times how often the query has it.
    """
    often = counts.astype(np.float32)
    return np.float32(weight) * (often / (often + norm))


def best(scores: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """The places of the highest scores above zero, the best first, of equal ones the first."""
    found = np.flatnonzero(scores > 0)
    if len(found) > most:
        values = scores[found]
        least = np.partition(values, len(values) - most)[len(values) - most]
        found = found[values >= least]
    return found[np.argsort(-scores[found], kind="stable")][:most]
