"""All ways to cut words into pieces, as one graph for all words at once.

A word of n characters has n + 1 nodes; a piece of its text is an edge between two of them. Work goes by the
distance of an edge's end from the start of its word: all edges with one distance, whatever their word, are
taken in one step, and every step before it is done.

Shapes: E edges in the order of (distance of the end, node, source), M nodes, N words, K pieces.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmkit.tokens.substrings import NONE, Ints, Substrings

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Lattice:
    """The graph; `keep` leaves only some of its edges, such as those of the pieces that are left."""

    source: NDArray[np.int32]  # (E,) node
    target: NDArray[np.int32]  # (E,) node
    piece: NDArray[np.int32]  # (E,)
    steps: list[slice]
    """The edges of each distance, the nearest first."""
    first: Ints  # (N,) first node of each word
    last: Ints  # (N,) last node of each word
    counts: Ints  # (N,) how often each word occurs

    @property
    def nodes(self) -> int:
        """M."""
        return int(self.last[-1]) + 1 if len(self.last) else 0

    def keep(self, edges: Mask) -> "Lattice":
        """The lattice with some of its edges."""
        before = np.concatenate([[0], np.cumsum(edges)])  # edges that are kept, before each
        steps = [slice(int(before[one.start]), int(before[one.stop])) for one in self.steps]
        return Lattice(
            self.source[edges],
            self.target[edges],
            self.piece[edges],
            [one for one in steps if one.stop > one.start],
            self.first,
            self.last,
            self.counts,
        )


def build_lattice(
    starts: Ints, lengths: Ints, counts: Ints, substrings: Substrings, alive: Mask, *, whole: bool = True
) -> Lattice:
    """The lattice of some stretches of text.

    Args:
        starts, lengths: (N,) where each stretch begins among the characters, and how long it is.
        counts: (N,) how often each occurs.
        substrings: all pieces.
        alive: (K,) the pieces that may be used.
        whole: whether a stretch may be one piece.
    """
    first = np.cumsum(lengths + 1) - (lengths + 1)
    sizes = np.arange(len(substrings.table), 0, -1)  # the longest first: ascending sources of one target
    empty = np.empty(0, np.int32)
    parts: list[tuple[NDArray[np.int32], ...]] = [(empty, empty, empty)]
    steps: list[slice] = []
    edges = 0
    for end in range(1, int(lengths.max(initial=0)) + 1):
        reach = np.flatnonzero(lengths >= end)  # the stretches with a node at this distance
        fitting = sizes[sizes <= end]
        piece = np.stack([substrings.table[size - 1][starts[reach] + end - size] for size in fitting], axis=1)
        there = (piece != NONE) & alive[piece]
        if not whole and fitting[0] == end:
            there[:, 0] &= lengths[reach] != end
        row, column = np.nonzero(there)
        target = (first[reach] + end)[row].astype(np.int32)
        source = (target - fitting[column]).astype(np.int32)
        parts.append((source, target, piece[row, column]))
        steps.append(slice(edges, edges + len(row)))
        edges += len(row)
    sources, targets, pieces = (np.concatenate(column) for column in zip(*parts, strict=True))
    steps = [one for one in steps if one.stop > one.start]
    return Lattice(sources, targets, pieces, steps, first, first + lengths, counts)


def expected_counts(lattice: Lattice, scores: Floats) -> tuple[Floats, float]:
    """How often each piece is expected, over all ways to cut each word, and the words' log-likelihood.

    Args:
        lattice: every word has at least one way.
        scores: (K,) log-probabilities of the pieces.
    """
    alpha = np.full(lattice.nodes, -np.inf)  # log of the summed probability of all ways to a node
    alpha[lattice.first] = 0.0
    share = np.empty(len(lattice.piece))  # of the ways to an edge's target, those that take the edge
    for step in lattice.steps:
        target = lattice.target[step]
        paths = alpha[lattice.source[step]] + scores[lattice.piece[step]]
        groups, sizes = _groups(target)
        highest = np.maximum.reduceat(paths, groups)
        highest[highest == -np.inf] = 0.0  # a node that no way reaches
        sums = np.add.reduceat(np.exp(paths - np.repeat(highest, sizes)), groups)
        with np.errstate(divide="ignore"):
            reached = highest + np.log(sums)
        alpha[target[groups]] = reached
        share[step] = np.exp(paths - np.repeat(np.where(sums > 0, reached, 0.0), sizes))
    flow = np.zeros(lattice.nodes)  # how often the ways through a node are taken
    flow[lattice.last] = lattice.counts
    for step in reversed(lattice.steps):
        share[step] *= flow[lattice.target[step]]
        np.add.at(flow, lattice.source[step], share[step])
    likelihood = float(np.dot(alpha[lattice.last], lattice.counts))
    return np.bincount(lattice.piece, weights=share, minlength=len(scores)).astype(np.float64), likelihood


def best_paths(lattice: Lattice, scores: Floats) -> tuple[Floats, list[tuple[Ints, Ints]]]:
    """The likeliest way to cut each word; of equals the one whose last piece is longest.

    Returns:
        (N,) its log-probability, -inf where there is none; and the ways, from the ends of the words: each
        step lists (words, pieces), a word for as long as it has pieces left.
    """
    best = np.full(lattice.nodes, -np.inf)
    best[lattice.first] = 0.0
    back = np.full(lattice.nodes, NONE, np.int64)  # the edge by which the best way arrives
    for step in lattice.steps:
        target = lattice.target[step]
        paths = best[lattice.source[step]] + scores[lattice.piece[step]]
        groups, sizes = _groups(target)
        highest = np.maximum.reduceat(paths, groups)
        winners = np.flatnonzero(paths == np.repeat(highest, sizes))
        nodes, firsts = np.unique(target[winners], return_index=True)
        best[nodes] = highest
        back[nodes] = winners[firsts] + step.start
    ways = []
    words = np.flatnonzero(best[lattice.last] > -np.inf)
    node = lattice.last[words]
    while len(words):
        edges = back[node]
        ways.append((words, lattice.piece[edges].astype(np.int64)))
        node = lattice.source[edges].astype(np.int64)
        left = node > lattice.first[words]
        words, node = words[left], node[left]
    return best[lattice.last], ways


def _groups(target: NDArray[np.int32]) -> tuple[Ints, Ints]:
    """Where each run of edges with one target begins, and how many they are."""
    groups = np.flatnonzero(np.diff(target, prepend=-1))
    return groups, np.diff(groups, append=len(target))
