"""Pairs of documents compared by the shingles on disk."""

import numpy as np
import pytest

from llmkit.text.bands import join_pairs
from llmkit.workflows.dedup.pairs import compare
from tests.text.duplicates import plain_jaccard
from tests.workflows.dedup.test_shingles import TEXTS, store_of


def test_pairs_have_the_similarity_of_their_texts_whichever_units_they_are_in() -> None:
    store = store_of([0, 1, 3], [4, 6, 7], [8])
    first, second = np.array([0, 1, 4, 7, 3], np.uint32), np.array([8, 3, 6, 8, 4], np.uint32)
    found = compare(join_pairs(first, second), store)
    expected = [plain_jaccard(TEXTS[a], TEXTS[b]) for a, b in zip(first, second, strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert len(compare(np.empty(0, np.uint64), store)) == 0
