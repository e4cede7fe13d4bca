"""Penalties: transformers' for repetition, OpenAI's formula for the other two."""

import math

import numpy as np
import pytest
import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.penalties import Penalties
from llmkit.engine.shaping import Scores

V = 50
PROMPT = [3, 7, 7, 11]
DRAWN = [7, 20, 20, 20]
LOGITS: Scores = np.random.default_rng(0).standard_normal(V, np.float32)


def _applied(config: SamplingConfig, logits: Scores) -> Scores:
    penalties = Penalties(config, PROMPT, V)
    for token in DRAWN:
        penalties.add(token)
    return penalties.apply(logits)


@pytest.mark.parametrize("penalty", [1.3, 0.7])
def test_the_repetition_penalty_is_transformers_over_prompt_and_text(penalty: float) -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    given = torch.tensor(LOGITS)[None]
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([PROMPT + DRAWN]), given)
    found = _applied(SamplingConfig(repetition_penalty=penalty), LOGITS)
    assert np.array_equal(found, theirs[0].numpy())


def test_presence_counts_once_and_frequency_each_time_and_the_prompt_not_at_all() -> None:
    config = SamplingConfig(presence_penalty=0.5, frequency_penalty=0.25)
    expected = np.zeros(V, np.float32)
    expected[7] = -(0.5 + 1 * 0.25)
    expected[20] = -(0.5 + 3 * 0.25)
    found = _applied(config, np.zeros(V, np.float32))
    assert np.array_equal(found, expected) and found.dtype == np.float32


def test_a_prompt_that_is_further_back_than_asked_is_seen_no_more_and_the_text_counts_on() -> None:
    found = _applied(SamplingConfig(repetition_penalty=2.0, repeat_last_n=6), np.ones(V, np.float32))
    assert np.flatnonzero(found != 1).tolist() == [7, 11, 20]  # of 3 7 7 11, the first two are gone
    counted = SamplingConfig(frequency_penalty=1.0, repeat_last_n=2)
    assert np.flatnonzero(_applied(counted, np.zeros(V, np.float32))).tolist() == [20]
    assert _applied(counted, np.zeros(V, np.float32))[20] == -2


def test_penalties_that_look_at_nothing_are_none() -> None:
    assert SamplingConfig(repetition_penalty=2.0, repeat_last_n=1).has_penalties
    assert not SamplingConfig(repetition_penalty=2.0, repeat_last_n=0).has_penalties


def test_the_models_own_scores_are_left_as_they_are() -> None:
    before = LOGITS.copy()
    _applied(SamplingConfig(repetition_penalty=2.0, presence_penalty=1.0, frequency_penalty=1.0), LOGITS)
    assert np.array_equal(LOGITS, before)


def test_a_score_at_the_end_of_float32_is_ruled_out_by_its_penalty_without_a_warning() -> None:
    found = _applied(SamplingConfig(repetition_penalty=2.0), np.full(V, -3e38, np.float32))
    assert found[3] == -math.inf and found[0] == np.float32(-3e38)
