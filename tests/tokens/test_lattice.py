"""The lattice, against every way to cut a word written out."""

import itertools
import math

import numpy as np
import pytest

from llmkit.tokens.lattice import Lattice, best_paths, build_lattice, expected_counts
from llmkit.tokens.substrings import Substrings, Words, repeated_substrings

WORDS = {"abab": 3, "aabba": 1, "b": 5, "babab": 2, "ba": 1}


def _pieces(laid: Words, found: Substrings) -> list[str]:
    return [
        laid.text(int(start), int(size)) for start, size in zip(found.position, found.length, strict=True)
    ]


def _cuts(word: str, pieces: set[str]) -> list[list[str]]:
    """All ways to write a word with these pieces."""
    ways = []
    for marks in itertools.product([False, True], repeat=len(word) - 1):
        bounds = [0, *(place for place, mark in enumerate(marks, 1) if mark), len(word)]
        way = [word[start:end] for start, end in itertools.pairwise(bounds)]
        if set(way) <= pieces:
            ways.append(way)
    return ways


@pytest.fixture(params=range(4))
def model(request: pytest.FixtureRequest) -> tuple[Words, Substrings, Lattice, np.ndarray, dict[str, float]]:
    """Words, pieces of which a few are gone, the lattice, and random scores."""
    laid = Words.of(list(WORDS), list(WORDS.values()))
    found = repeated_substrings(laid, 4)
    chance = np.random.default_rng(request.param)
    alive = (found.length == 1) | (chance.random(len(found)) < 0.7)
    scores = np.log(chance.random(len(found)))
    lattice = build_lattice(laid.starts[:-1], np.diff(laid.starts), laid.counts, found, alive)
    table = {
        piece: float(score)
        for piece, score, is_left in zip(_pieces(laid, found), scores, alive, strict=True)
        if is_left
    }
    return laid, found, lattice, scores, table


def test_expected_counts_are_those_over_all_ways(model) -> None:
    laid, found, lattice, scores, table = model
    expected = dict.fromkeys(table, 0.0)
    likelihood = 0.0
    for word, count in WORDS.items():
        ways = _cuts(word, set(table))
        chances = [math.exp(sum(table[piece] for piece in way)) for way in ways]
        likelihood += count * math.log(sum(chances))
        for way, chance in zip(ways, chances, strict=True):
            for piece in way:
                expected[piece] += count * chance / sum(chances)
    counts, total = expected_counts(lattice, scores)
    assert total == pytest.approx(likelihood, rel=1e-12)
    for piece, count in zip(_pieces(laid, found), counts, strict=True):
        assert count == pytest.approx(expected.get(piece, 0.0), rel=1e-12, abs=1e-12)


def test_best_paths_are_the_likeliest_ways(model) -> None:
    laid, found, lattice, scores, table = model
    best, steps = best_paths(lattice, scores)
    names = _pieces(laid, found)
    found_ways: list[list[str]] = [[] for _ in WORDS]
    for words, pieces in steps:
        for word, piece in zip(words, pieces, strict=True):
            found_ways[word].insert(0, names[piece])
    for number, word in enumerate(WORDS):
        likeliest = max(_cuts(word, set(table)), key=lambda way: sum(table[piece] for piece in way))
        assert found_ways[number] == likeliest
        assert best[number] == pytest.approx(sum(table[piece] for piece in likeliest))


def test_of_equal_ways_the_last_piece_is_the_longest() -> None:
    laid = Words.of(["aaa"], [2])
    found = repeated_substrings(laid, 2)  # a, aa
    lattice = build_lattice(laid.starts[:-1], np.diff(laid.starts), laid.counts, found, np.ones(2, bool))
    _, steps = best_paths(lattice, np.array([-1.0, -2.0]))
    assert [int(pieces[0]) for _, pieces in steps] == [1, 0]


def test_a_stretch_need_not_be_a_piece_itself() -> None:
    laid = Words.of(["abab"], [1])
    found = repeated_substrings(laid, 4)
    names = _pieces(laid, found)
    where = names.index("ab")
    stretch = (found.position[[where]], found.length[[where]], found.count[[where]])
    alive = np.ones(len(found), bool)
    whole = build_lattice(*stretch, found, alive)
    apart = build_lattice(*stretch, found, alive, whole=False)
    assert sorted(names[piece] for piece in whole.piece) == ["a", "ab", "b"]
    assert sorted(names[piece] for piece in apart.piece) == ["a", "b"]
    alive[names.index("b")] = False
    best, steps = best_paths(build_lattice(*stretch, found, alive, whole=False), np.zeros(len(found)))
    assert (best.tolist(), steps) == ([-np.inf], [])


def test_keeping_some_edges_is_building_without_the_others(model) -> None:
    laid, found, lattice, scores, _ = model
    alive = found.length < 3
    kept = lattice.keep(alive[lattice.piece])
    built = build_lattice(
        laid.starts[:-1],
        np.diff(laid.starts),
        laid.counts,
        found,
        alive & np.isin(np.arange(len(found)), lattice.piece),
    )
    for name in ("source", "target", "piece"):
        assert getattr(kept, name).tolist() == getattr(built, name).tolist()
    assert kept.steps == built.steps
    assert expected_counts(kept, scores)[1] == expected_counts(built, scores)[1]


def test_no_stretches_are_an_empty_lattice() -> None:
    laid = Words.of(["ab"], [1])
    none = np.empty(0, np.int64)
    lattice = build_lattice(none, none, none, repeated_substrings(laid, 2), np.ones(2, bool))
    assert (lattice.nodes, len(lattice.piece), best_paths(lattice, np.zeros(2))[1]) == (0, 0, [])
