"""Shaping: every step beside transformers' own on random scores."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from llmkit.engine.config import SamplingConfig
from llmkit.engine.sampling import Sampler
from llmkit.engine.shaping import (
    Scores,
    exclude_top,
    keep_min_p,
    keep_top_k,
    keep_top_n_sigma,
    keep_top_p,
    keep_typical_p,
    shape,
    shaping,
)


def _logits(seed: int, size: int = 3000, spread: float = 3.0) -> Scores:
    scores = np.random.default_rng(seed).standard_normal(size, np.float32) * np.float32(spread)
    scores.flags.writeable = False  # as they are given, so they stay
    return scores


def _array(*scores: float) -> Scores:
    return np.array(scores, np.float32)


def _kept(scores: Scores) -> NDArray[np.bool_]:
    return scores > -math.inf


def _theirs(warper: Any, scores: Scores) -> NDArray[np.bool_]:
    """What transformers keeps; in float64, since float32 sums would be off by some."""
    found = warper(None, torch.tensor(scores)[None].double())[0]
    return found.numpy() > -math.inf


@pytest.mark.parametrize("k", [1, 2, 50, 2999, 3000, 10_000])
def test_top_k_is_transformers(k: int) -> None:
    from transformers import TopKLogitsWarper

    logits = _logits(k)
    theirs = TopKLogitsWarper(k)(None, torch.tensor(logits)[None])[0]
    assert np.array_equal(keep_top_k(logits, k), theirs.numpy())


@pytest.mark.parametrize("p", [1e-6, 0.1, 0.5, 0.9, 0.999, 0.99999])
@pytest.mark.parametrize("spread", [0.01, 1.0, 5.0])
def test_top_p_is_transformers_whether_few_or_nearly_all_are_kept(p: float, spread: float) -> None:
    from transformers import TopPLogitsWarper

    logits = _logits(1, spread=spread)
    assert np.array_equal(_kept(keep_top_p(logits, p)), _theirs(TopPLogitsWarper(p), logits))


@pytest.mark.parametrize("p", [0.001, 0.05, 0.5, 1.0])
def test_min_p_is_transformers(p: float) -> None:
    from transformers import MinPLogitsWarper

    logits = _logits(2)
    assert np.array_equal(_kept(keep_min_p(logits, p)), _theirs(MinPLogitsWarper(p), logits))


@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("spread", [0.3, 1.0, 5.0])
def test_typical_p_is_transformers_also_of_what_top_k_left(p: float, spread: float) -> None:
    from transformers import TypicalLogitsWarper

    logits = _logits(7, spread=spread)
    for left in (logits, keep_top_k(logits, 50)):
        assert np.array_equal(_kept(keep_typical_p(left, p)), _theirs(TypicalLogitsWarper(p), left))


def test_a_step_that_is_off_changes_nothing() -> None:
    logits = _logits(3)
    off = (keep_top_k(logits, 0), keep_top_p(logits, 1.0), keep_min_p(logits, 0.0), keep_typical_p(logits, 1))
    for same in off:
        assert np.array_equal(same, logits)
    assert [name for name, *_ in shaping(SamplingConfig())] == ["temperature"]


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_top_n_sigma_keeps_what_is_near_the_best_whatever_the_temperature(temperature: float) -> None:
    logits = _array(5.0, 3.0, 2.0, 1.0, -1.0, -math.inf)  # of those alive mean 2, deviation 2
    steps = dict(Sampler(SamplingConfig(temperature=temperature, top_n_sigma=1.1), [], 6).steps(logits))
    assert _kept(steps["top_n_sigma"]).tolist() == [True, True, False, False, False, False]
    assert _kept(keep_top_n_sigma(logits, 1.6)).tolist() == [True, True, True, False, False, False]
    assert np.array_equal(keep_top_n_sigma(logits, 0.0), logits)


def test_of_the_likely_ones_the_least_likely_and_all_others_stay() -> None:
    logits = np.log(_array(0.05, 0.4, 0.2, 0.3, 0.05))
    for threshold, left in ((0.15, [0, 2, 4]), (0.25, [0, 2, 3, 4]), (0.35, [0, 1, 2, 3, 4]), (0.01, [0, 4])):
        assert np.flatnonzero(_kept(exclude_top(logits, threshold))).tolist() == left
    assert np.array_equal(exclude_top(logits, 0.9), logits)


def test_tokens_as_good_as_the_last_one_kept_are_kept() -> None:
    logits = _array(1.0, 3.0, 2.0, 2.0, 0.0)
    assert _kept(keep_top_k(logits, 2)).tolist() == [False, True, True, True, False]
    assert _kept(keep_top_p(logits, 0.7)).tolist() == [False, True, True, True, False]


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.5, "top_k": 20},
        {"temperature": 2.0, "top_p": 0.8},
        {"temperature": 1.3, "top_k": 30, "top_p": 0.9},
        {"temperature": 1.3, "top_k": 200, "top_p": 0.9, "min_p": 0.02},
        {"temperature": 0.7, "min_p": 0.1},
        {"temperature": 1.3, "top_k": 200, "top_p": 0.95, "min_p": 0.01, "typical_p": 0.7},
    ],
)
def test_the_steps_together_are_what_transformers_generate_applies_in_its_order(
    settings: dict[str, Any],
) -> None:
    from transformers import GenerationConfig
    from transformers.generation.utils import GenerationMixin

    config = GenerationConfig(do_sample=True, **settings)
    steps = GenerationMixin()._get_logits_processor(config)
    logits = _logits(4)
    theirs = steps(torch.tensor([[0]]), torch.tensor(logits)[None].double())[0].softmax(0)
    ours = shape(logits, SamplingConfig(**settings))
    assert ours.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(ours).double().softmax(0), theirs, rtol=1e-5, atol=1e-12)


def test_scores_too_far_below_the_best_for_a_number_are_ruled_out_without_a_warning() -> None:
    heated = shape(_array(2.0, 1.0, -3e38), SamplingConfig(temperature=0.1))
    assert heated.tolist() == [0.0, -10.0, -math.inf]
