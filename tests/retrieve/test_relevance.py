"""Figures of a ranking, by hand."""

from math import log2

import pytest

from llmkit.retrieve.relevance import Relevance, judge, mean_of


def test_figures_are_the_definitions() -> None:
    # relevant: b (grade 2), d (grade 1), z (grade 1, not found); places 2 and 4
    found = judge(["a", "b", "c", "d", "e"], {"b": 2.0, "d": 1.0, "z": 1.0}, 10)
    ideal = 2 / log2(2) + 1 / log2(3) + 1 / log2(4)
    assert found.recall == pytest.approx(2 / 3)
    assert found.mrr == pytest.approx(1 / 2)
    assert found.ndcg == pytest.approx((2 / log2(3) + 1 / log2(5)) / ideal)


def test_only_the_first_k_count_and_one_that_comes_again_counts_once() -> None:
    assert judge(["a", "a", "b"], {"b": 1.0}, 2) == Relevance(1.0, 0.5, pytest.approx(1 / log2(3)))
    assert judge(["a", "c", "b"], {"b": 1.0}, 2) == Relevance(0.0, 0.0, 0.0)


def test_the_best_ranking_has_one_everywhere() -> None:
    assert judge(["b", "c", "a"], {"b": 3.0, "c": 1.0}, 2) == Relevance(1.0, 1.0, 1.0)


def test_figures_are_those_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    names, grades = list("abcdefgh"), [0, 2, 0, 1, 3, 0, 0, 1]
    relevant = {name: float(grade) for name, grade in zip(names, grades, strict=True) if grade}
    expected = sklearn.ndcg_score([grades], [list(range(8, 0, -1))], k=5)
    assert judge(names, relevant, 5).ndcg == pytest.approx(expected)


def test_the_mean_is_over_queries() -> None:
    assert mean_of([Relevance(1.0, 0.5, 0.0), Relevance(0.0, 0.5, 1.0)]) == Relevance(0.5, 0.5, 0.5)
