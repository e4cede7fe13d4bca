"""Signatures and bands against their theory."""

import random

import numpy as np
import pytest

from llmkit.errors import UsageError
from llmkit.text.minhash import (
    EMPTY,
    band_keys,
    found_probability,
    multipliers,
    signatures,
    solve_bands,
)
from llmkit.text.shingles import shingle
from tests.text.duplicates import pairs_at, plain_jaccard, random_text


def test_a_signature_is_the_least_of_each_permutation() -> None:
    rng = random.Random(3)
    texts = [random_text(rng, 30), "", "two words", random_text(rng, 12)]
    shingled = shingle(texts)
    found = signatures(shingled, 7)
    factors = multipliers(7).tolist()
    for number in range(len(texts)):
        own = shingled.hashes[shingled.offsets[number] : shingled.offsets[number + 1]].tolist()
        for row, factor in enumerate(factors):
            least = min(((one >> 32) * factor % 2**32 for one in own), default=int(EMPTY))
            assert found[row, number] == least
    assert all(factor % 2 for factor in factors) and len(set(multipliers(1000).tolist())) == 1000
    assert np.array_equal(multipliers(1000)[:7], multipliers(7))


def test_signatures_agree_as_often_as_the_texts_are_similar() -> None:
    pairs = pairs_at(random.Random(4), 0.6, 200)
    signed = signatures(shingle([text for pair in pairs for text in pair]), 112)
    agreeing = (signed[:, ::2] == signed[:, 1::2]).mean(axis=0)
    true = np.array([plain_jaccard(*pair) for pair in pairs])
    error = agreeing - true
    sigma = np.sqrt(true * (1 - true) / 112)
    assert abs(error.mean()) < 3 * sigma.mean() / np.sqrt(len(pairs))
    assert 0.8 < np.sqrt((error**2).mean()) / sigma.mean() < 1.2


@pytest.mark.parametrize(("bands", "rows"), [(14, 8), (20, 5)])
def test_pairs_share_a_band_as_often_as_the_curve_says_within_three_sigma(bands: int, rows: int) -> None:
    rng = random.Random(5)
    expected = {}
    for similarity in (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95):
        pairs = pairs_at(rng, similarity, 100)
        signed = signatures(shingle([text for pair in pairs for text in pair]), bands * rows)
        keys = band_keys(signed, bands, rows)
        shared = (keys[:, ::2] == keys[:, 1::2]).any(axis=0).sum()
        odds = found_probability(np.array([plain_jaccard(*pair) for pair in pairs]), bands, rows)
        expected[similarity] = (shared - odds.sum()) / max(np.sqrt((odds * (1 - odds)).sum()), 0.5)
    assert {at: round(away, 2) for at, away in expected.items() if abs(away) > 3} == {}


def test_a_band_is_equal_only_where_all_its_rows_are() -> None:
    signed = np.arange(12, dtype=np.uint32).reshape(6, 2) // 2  # two texts, the same everywhere
    assert np.array_equal(*band_keys(signed, 2, 3).T)
    signed[4, 1] += 1
    keys = band_keys(signed, 2, 3)
    assert keys[0, 0] == keys[0, 1] and keys[1, 0] != keys[1, 1]
    swapped = signed[[1, 0, 2, 3, 4, 5]]
    assert band_keys(swapped, 2, 3)[0, 0] != keys[0, 0]


def test_the_curve_is_the_formula_as_reference_tables_have_it() -> None:
    # data.md: 14 x 8 at .70 to .90; 20 x 13 at .80
    points = np.array([0.7, 0.75, 0.8, 0.85, 0.9])
    assert found_probability(points, 14, 8).round(3).tolist() == [0.565, 0.772, 0.924, 0.988, 1.0]
    assert round(float(found_probability(0.8, 20, 13)), 3) == 0.677


def test_bands_are_solved_for_the_most_rows_that_find_enough() -> None:
    bands, rows = solve_bands(0.8)
    assert bands * rows <= 112 and found_probability(0.8, bands, rows) >= 0.95
    assert found_probability(0.8, 112 // (rows + 1), rows + 1) < 0.95
    assert solve_bands(1.0) == (1, 112)
    with pytest.raises(UsageError, match="too few pairs"):
        solve_bands(0.1, 10)
