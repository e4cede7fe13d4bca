"""Distributions: torch's in float64, and by hand."""

import math

import numpy as np
import pytest
import torch

from llmkit.engine.softmax import Softmax, best_of, finite, logprob
from llmkit.errors import DataError


@pytest.mark.parametrize("spread", [0.01, 3.0, 60.0])
def test_it_is_torchs_in_float64_also_where_tokens_are_ruled_out(spread: float) -> None:
    scores = np.random.default_rng(0).standard_normal(5000, np.float32) * np.float32(spread)
    scores[::7] = -math.inf
    theirs = torch.from_numpy(scores).double()
    softmax = Softmax(scores)
    np.testing.assert_allclose(softmax.probabilities, theirs.softmax(0).numpy(), rtol=1e-10)
    np.testing.assert_allclose(softmax.logprobs, theirs.log_softmax(0).numpy(), rtol=1e-10, atol=1e-12)
    entropy = float(torch.special.entr(theirs.softmax(0)).sum())
    assert softmax.entropy == pytest.approx(entropy, rel=1e-10, abs=1e-12)
    assert softmax.entropy_bits == pytest.approx(entropy / math.log(2), rel=1e-10, abs=1e-12)
    for token in (0, 1, int(scores.argmax())):
        expected = pytest.approx(float(theirs.log_softmax(0)[token]), rel=1e-10, abs=1e-12)
        assert softmax.logprob(token) == expected


@pytest.mark.parametrize("spread", [0.01, 3.0, 60.0])
def test_one_logarithm_alone_is_nearer_to_the_right_one_than_float32_is(spread: float) -> None:
    scores = np.random.default_rng(1).standard_normal(5000, np.float32) * np.float32(spread)
    right = torch.from_numpy(scores).double().log_softmax(0)
    assert all(abs(logprob(scores, token) - float(right[token])) < 1e-7 for token in range(0, 5000, 10))


def test_an_only_token_is_certain() -> None:
    for scores in ([3.0], [0.0, -math.inf], [-math.inf, 80.0]):
        softmax = Softmax(np.array(scores, np.float32))
        token = int(np.argmax(scores))
        assert (softmax.entropy_bits, softmax.logprob(token), softmax.total) == (0.0, 0.0, 1.0)


def test_the_best_come_first_and_of_equal_ones_the_first_and_none_that_is_ruled_out() -> None:
    scores = np.array([1.0, 3.0, -math.inf, 2.0, 3.0, 2.0, 2.0], np.float32)
    assert best_of(scores, 0) == []
    assert best_of(scores, 1) == [1]
    assert best_of(scores, 4) == [1, 4, 3, 5]
    assert best_of(scores, 100) == [1, 4, 3, 5, 6, 0]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_scores_that_are_no_numbers_are_bad_data(wrong: float) -> None:
    assert finite(1.5) == 1.5
    with pytest.raises(DataError, match=f"not finite \\(found {wrong}\\)"):
        finite(wrong)
    scores = np.array([-math.inf, wrong, -math.inf], np.float32)
    for asked in (Softmax, lambda given: logprob(given, 0)):
        with pytest.raises(DataError, match="not finite"):
            asked(scores)
