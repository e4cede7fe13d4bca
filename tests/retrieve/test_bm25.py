"""BM25 by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.retrieve.bm25 import best, idf, length_norm, word_scores
from llmkit.retrieve.config import Bm25Config


def test_a_score_is_the_formula() -> None:
    # 10 passages, 3 with the word; here twice, in 40 words where the mean is 50
    assert idf(10, 3) == pytest.approx(math.log(1 + 7.5 / 3.5))
    norm = length_norm(np.array([40], np.uint32), 50.0, Bm25Config(k1=1.2, b=0.75))
    assert norm[0] == pytest.approx(1.2 * (0.25 + 0.75 * 0.8))
    score = word_scores(np.array([2], np.uint16), norm, idf(10, 3))
    assert score[0] == pytest.approx(math.log(1 + 7.5 / 3.5) * 2 / (2 + 1.2 * 0.85))


def test_b_0_takes_no_heed_of_length_and_an_empty_index_has_no_mean() -> None:
    lengths = np.array([1, 900], np.uint32)
    assert set(length_norm(lengths, 50.0, Bm25Config(k1=2.0, b=0.0)).tolist()) == {2.0}
    assert np.isfinite(length_norm(np.zeros(0, np.uint32), 0.0, Bm25Config())).all()


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), max_size=30), st.integers(1, 8))
def test_the_best_are_those_of_a_whole_sort_and_equal_ones_keep_their_order(
    values: list[int], most: int
) -> None:
    slow = sorted((place for place, value in enumerate(values) if value), key=lambda place: -values[place])
    assert best(np.array(values, np.float32), most).tolist() == slow[:most]
