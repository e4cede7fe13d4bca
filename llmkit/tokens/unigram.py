"""Train a unigram model: the pieces whose probabilities explain the text best.

Start from every substring that repeats; in turns, drop the pieces that cost the least likelihood and fit the
probabilities of the rest (expectation-maximisation), down to the size wanted. The idea and most constants are
SentencePiece's (Kudo 2018, arXiv:1804.10959; google/sentencepiece `src/unigram_model_trainer.cc`). Unlike
there, the last pieces too are dropped by their cost and not by their score, and near the end a tenth at a
time instead of a quarter: a better model for a little more time.

Its results depend on nothing but the words and their counts: sums run in one fixed order, where the trainer
of the `tokenizers` library sums in that of threads and hashes, and gives other scores on every run.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from llmkit.progress import SILENT, Progress
from llmkit.tokens.lattice import Floats, Lattice, Mask, best_paths, build_lattice, expected_counts
from llmkit.tokens.substrings import Ints, Substrings, Words, repeated_substrings

LONGEST_PIECE = 16
SEED_PIECES = 1_000_000
ROUNDS = 2  # of expectation-maximisation after each cut
FAST_SHRINK, SHRINK = 0.75, 0.9  # what a cut leaves, while far from the size wanted and near it
NEAR = 4  # times the size wanted
RARE = 0.5  # a piece expected less often is dropped
DECIMALS = 6  # of a score: far above the noise of other machines' arithmetic
LONGEST_WORD = 256  # characters; a longer one is taken in parts


@dataclass
class _Pieces:
    """The pieces as they stand: which are left, and their log-probabilities."""

    substrings: Substrings
    single: Mask  # (K,) the characters, which are never dropped
    alive: Mask  # (K,)
    scores: Floats  # (K,) -inf where dropped

    @property
    def left(self) -> int:
        return int(self.alive.sum())

    def drop(self, gone: Ints) -> None:
        self.alive[gone] = False
        self.scores[gone] = -np.inf


def train_unigram(
    words: Mapping[str, int], size: int, *, progress: Progress = SILENT
) -> list[tuple[str, float]]:
    """The `size` best pieces, or all there are, with their log-probabilities, the likeliest first.

    Every single character of the words is among them.

    Args:
        words: how often each word occurs; a piece never goes beyond a word.
        size: pieces wanted, at least as many as there are characters.
        progress: told how many pieces are left.
    """
    laid = _lay_out(words)
    if not len(laid.counts):
        return []
    pieces = _seeds(laid)
    lattice = build_lattice(
        laid.starts[:-1], np.diff(laid.starts), laid.counts, pieces.substrings, pieces.alive
    )
    begin = pieces.left
    lattice = _fit(pieces, lattice, size)
    while pieces.left > size:
        progress.update(begin - pieces.left, begin - size, pieces=f"{pieces.left:,}")
        shrink = SHRINK if pieces.left <= NEAR * size else FAST_SHRINK
        _prune(pieces, lattice, max(int(shrink * pieces.left), size))
        lattice = _fit(pieces, lattice, size)
    return _ranked(pieces, laid)


def _lay_out(words: Mapping[str, int]) -> Words:
    """The words in one fixed order, long ones in parts."""
    counts: dict[str, int] = {}
    for word, count in words.items():
        for start in range(0, len(word), LONGEST_WORD):
            part = word[start : start + LONGEST_WORD]
            counts[part] = counts.get(part, 0) + count
    ordered = sorted(counts)
    return Words.of(ordered, [counts[word] for word in ordered])


def _seeds(words: Words) -> _Pieces:
    """All characters, and of the repeated substrings those that cover the most text."""
    substrings = repeated_substrings(words, LONGEST_PIECE)
    cover = substrings.count * substrings.length
    single = substrings.length == 1
    alive = single.copy()
    longer = np.flatnonzero(~single)
    alive[longer[np.argsort(-cover[longer], kind="stable")[:SEED_PIECES]]] = True
    total = cover[alive].sum()
    scores = np.where(alive, np.log(cover / total), -np.inf)
    return _Pieces(substrings, single, alive, scores)


def _fit(pieces: _Pieces, lattice: Lattice, size: int) -> Lattice:
    """New probabilities; the lattice of the pieces that are left."""
    lattice = lattice.keep(pieces.alive[lattice.piece])
    for _ in range(ROUNDS):
        counts, _ = expected_counts(lattice, pieces.scores)
        _maximise(pieces, counts, size)
        lattice = lattice.keep(pieces.alive[lattice.piece])
    return lattice


def _maximise(pieces: _Pieces, counts: Floats, size: int) -> None:
    """Probabilities from expected counts; rare pieces go as long as more than `size` are left.

    The digamma function in place of the logarithm favours few pieces (Bayesian EM).
    """
    rare = np.flatnonzero(pieces.alive & ~pieces.single & (counts < RARE))
    rare = rare[np.argsort(counts[rare], kind="stable")]
    pieces.drop(rare[: max(0, pieces.left - size)])
    counts = np.maximum(counts[pieces.alive], RARE)
    pieces.scores[pieces.alive] = digamma(counts) - digamma(counts.sum(keepdims=True))


def _prune(pieces: _Pieces, lattice: Lattice, target: int) -> None:
    """Keep the `target` pieces that are missed most."""
    substrings = pieces.substrings
    _, ways = best_paths(lattice, pieces.scores)
    used = np.zeros(len(substrings))  # occurrences in the best cuts of all words
    for words, taken in ways:
        used += np.bincount(taken, weights=lattice.counts[words], minlength=len(used))
    longer = np.flatnonzero(pieces.alive & ~pieces.single)
    apart = build_lattice(
        substrings.position[longer],
        substrings.length[longer],
        substrings.count[longer],
        substrings,
        pieces.alive,
        whole=False,
    )
    best, parts = best_paths(apart, pieces.scores)
    # a piece that is less likely than its parts, or is never used, goes first
    needed = (pieces.scores[longer] >= best) & (used[longer] > 0)
    loss = np.where(needed, _loss(used, longer, parts), -np.inf)
    order = longer[np.lexsort((-pieces.scores[longer], -loss))]
    pieces.drop(order[max(0, target - int(pieces.single.sum())) :])


def _loss(used: Floats, longer: Ints, parts: list[tuple[Ints, Ints]]) -> Floats:
    """The log-likelihood lost when a piece of `longer` is replaced by its parts."""
    total = used.sum()
    count = np.maximum(used[longer], RARE)
    number = np.zeros(len(longer))  # of parts
    apart = np.zeros(len(longer))  # log-probability of the parts, each seen more often by `count`
    for pieces, taken in parts:
        number[pieces] += 1
        apart[pieces] += np.log(used[taken] + count[pieces])
    apart -= number * np.log(total + count * (number - 1))
    return count * (np.log(count / total) - apart)


def _ranked(pieces: _Pieces, words: Words) -> list[tuple[str, float]]:
    """The pieces that are left, by score and then by text."""
    substrings = pieces.substrings
    scored = [
        (
            words.text(int(substrings.position[index]), int(substrings.length[index])),
            round(float(pieces.scores[index]), DECIMALS),
        )
        for index in np.flatnonzero(pieces.alive)
    ]
    return sorted(scored, key=lambda one: (-one[1], one[0]))


def digamma(x: Floats) -> Floats:
    """The derivative of log gamma, for x > 0, to about 1e-12.

    Source: Abramowitz and Stegun 6.3.5 (recurrence) and 6.3.18 (asymptotic series).
    """
    shift = np.zeros_like(x)
    x = x.copy()
    for _ in range(6):
        shift -= 1 / x
        x += 1
    y = 1 / (x * x)
    series = y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y / 132))))
    return np.log(x) - 0.5 / x - series + shift
