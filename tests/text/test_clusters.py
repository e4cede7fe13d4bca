"""Clusters against slow twins: a graph walked in Python, sets compared in Python."""

import itertools
import random

import numpy as np
import pytest

from llmkit.text.bands import join_pairs
from llmkit.text.clusters import choose, connect, jaccard


def pairs_of_edges(edges: list[tuple[int, int]]) -> np.ndarray:
    columns = np.array(sorted(tuple(sorted(edge)) for edge in set(edges)), np.uint32).reshape(-1, 2)
    return join_pairs(columns[:, 0], columns[:, 1])


def walked(count: int, edges: list[tuple[int, int]]) -> list[int]:
    """The lowest document that each can be reached from."""
    reach = list(range(count))
    changed = True
    while changed:
        changed = False
        for a, b in edges:
            low = min(reach[a], reach[b])
            changed |= reach[a] != low or reach[b] != low
            reach[a] = reach[b] = low
    return reach


@pytest.mark.parametrize("seed", range(5))
def test_components_are_those_of_a_walk(seed: int) -> None:
    rng = random.Random(seed)
    edges = [(a, b) for a, b in ((rng.randrange(60), rng.randrange(60)) for _ in range(45)) if a != b]
    assert connect(60, pairs_of_edges(edges)).tolist() == walked(60, edges)


@pytest.mark.parametrize("parts", [2, 5])
def test_pairs_connected_in_parts_have_the_components_of_all(parts: int) -> None:
    rng = random.Random(7)
    edges = [(a, b) for a, b in ((rng.randrange(80), rng.randrange(80)) for _ in range(60)) if a != b]
    found = None
    for part in range(parts):
        found = connect(80, pairs_of_edges(edges[part::parts]), found)
    assert found is not None and found.tolist() == walked(80, edges)


def test_a_chain_of_ten_thousand_is_one_component_in_any_order() -> None:
    names = random.Random(1).sample(range(10_000), 10_000)
    pairs = pairs_of_edges(list(itertools.pairwise(names)))
    assert connect(10_000, pairs).max() == 0


def test_jaccard_is_that_of_sets() -> None:
    rng = random.Random(2)
    sets = [sorted(rng.sample(range(60), rng.randrange(1, 40))) for _ in range(12)]
    sets.append([])
    offsets = np.cumsum([0, *map(len, sets)])
    edges = [(a, b) for a in range(13) for b in range(a)]
    pairs = pairs_of_edges(edges)
    found = jaccard(pairs, np.concatenate(sets).astype(np.uint32), offsets, elements=100)
    expected = [
        len({*sets[a]} & {*sets[b]}) / max(1, len({*sets[a]} | {*sets[b]}))
        for a, b in sorted((b, a) for a, b in edges)
    ]
    assert np.allclose(found, expected, atol=1e-6)


def similarity_of(table: dict[frozenset[int], float]):
    def compare(pairs: np.ndarray) -> np.ndarray:
        return np.array(
            [
                table.get(frozenset((int(p >> np.uint64(32)), int(p & np.uint64(0xFFFFFFFF)))), 0)
                for p in pairs
            ],
            "f4",
        )

    return compare


CHAIN = {frozenset((0, 1)): 0.8, frozenset((1, 2)): 0.85, frozenset((2, 3)): 0.9}
RANK = np.arange(6, dtype=np.uint32)


def test_what_is_dropped_has_a_kept_document_like_it_and_a_chain_is_not_followed() -> None:
    kept = choose(
        5, pairs_of_edges([(0, 1), (1, 2), (2, 3)]), RANK, compare=similarity_of(CHAIN), similarity=0.75
    )
    assert kept.keeper.tolist() == [0, 0, 2, 2, 4]
    assert kept.similarity[[1, 3]].tolist() == pytest.approx([0.8, 0.9])
    assert np.isnan(kept.similarity[[0, 2, 4]]).all()


def test_a_chain_goes_whole_where_that_is_asked_for_or_nothing_is_compared() -> None:
    edges = pairs_of_edges([(0, 1), (1, 2), (2, 3)])
    kept = choose(5, edges, RANK, compare=similarity_of(CHAIN), similarity=0.75, transitive=True)
    assert kept.keeper.tolist() == [0, 0, 0, 0, 4] and kept.similarity[3] == 0
    blind = choose(5, edges, RANK, compare=None)
    assert blind.keeper.tolist() == [0, 0, 0, 0, 4] and np.isnan(blind.similarity).all()


def test_the_best_is_kept_whichever_number_it_has() -> None:
    rank = np.array([3, 0, 2, 1, 4], np.uint32)
    everything = {frozenset((a, b)): 0.9 for a in range(4) for b in range(a)}
    kept = choose(
        5, pairs_of_edges([(0, 1), (1, 2), (2, 3)]), rank, compare=similarity_of(everything), similarity=0.75
    )
    assert kept.keeper.tolist() == [1, 1, 1, 1, 4]


def test_documents_of_an_index_are_all_kept() -> None:
    everything = {frozenset((a, b)): 0.9 for a in range(4) for b in range(a)}
    kept = choose(
        4,
        pairs_of_edges([(0, 1), (1, 2), (2, 3)]),
        RANK,
        compare=similarity_of(everything),
        similarity=0.75,
        num_fixed=2,
    )
    assert kept.keeper.tolist() == [0, 1, 0, 0]
    second_only = {frozenset((1, 2)): 0.9, frozenset((0, 1)): 0.9}
    kept = choose(
        3,
        pairs_of_edges([(0, 1), (1, 2)]),
        RANK,
        compare=similarity_of(second_only),
        similarity=0.75,
        num_fixed=2,
    )
    assert kept.keeper.tolist() == [0, 1, 1]


def test_known_similarities_are_not_measured_again() -> None:
    asked: list[int] = []

    def compare(pairs: np.ndarray) -> np.ndarray:
        asked.append(len(pairs))
        return np.zeros(len(pairs), "f4")

    pairs = pairs_of_edges([(0, 1), (1, 2)])
    known = np.array([0.8, 0.9], "f4")
    kept = choose(3, pairs, RANK, compare=compare, similarity=0.75, similarities=known)
    assert kept.keeper.tolist() == [0, 0, 2] and asked == [1]  # only 0 with 2


@pytest.mark.parametrize("seed", range(4))
def test_a_greedy_walk_in_python_keeps_the_same(seed: int) -> None:
    rng = random.Random(seed)
    table = {frozenset((a, b)): rng.random() for a in range(30) for b in range(a)}
    edges = [tuple(edge) for edge, s in table.items() if s >= 0.85]
    rank = np.array(rng.sample(range(30), 30), np.uint32)
    reach = walked(30, edges)
    expected: dict[int, int] = {}
    for one in sorted(range(30), key=lambda one: rank[one]):
        likes = [
            k
            for k in expected
            if expected[k] == k and reach[k] == reach[one] and table[frozenset((k, one))] >= 0.85
        ]
        expected[one] = min(likes, key=lambda k: rank[k]) if likes else one
    kept = choose(30, pairs_of_edges(edges), rank, compare=similarity_of(table), similarity=0.85)
    assert kept.keeper.tolist() == [expected[one] for one in range(30)]
