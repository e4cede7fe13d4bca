"""Penalties: transformers' for repetition, OpenAI's formula for the other two."""

import pytest
import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.penalties import Penalties

V = 50
PROMPT = [3, 7, 7, 11]
DRAWN = [7, 20, 20, 20]


def _applied(config: SamplingConfig, logits: torch.Tensor) -> torch.Tensor:
    penalties = Penalties(config, PROMPT, V)
    for token in DRAWN:
        penalties.add(token)
    return penalties.apply(logits)


@pytest.mark.parametrize("penalty", [1.3, 0.7])
def test_the_repetition_penalty_is_transformers_over_prompt_and_text(penalty: float) -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    logits = torch.randn(V, generator=torch.Generator().manual_seed(0))
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([PROMPT + DRAWN]), logits[None].clone())
    assert torch.equal(_applied(SamplingConfig(repetition_penalty=penalty), logits), theirs[0])


def test_presence_counts_once_and_frequency_each_time_and_the_prompt_not_at_all() -> None:
    logits = torch.zeros(V)
    found = _applied(SamplingConfig(presence_penalty=0.5, frequency_penalty=0.25), logits)
    expected = torch.zeros(V)
    expected[7] = -(0.5 + 1 * 0.25)
    expected[20] = -(0.5 + 3 * 0.25)
    assert torch.equal(found, expected)


def test_the_models_own_scores_are_left_as_they_are() -> None:
    logits = torch.randn(V)
    before = logits.clone()
    _applied(SamplingConfig(repetition_penalty=2.0, presence_penalty=1.0, frequency_penalty=1.0), logits)
    assert torch.equal(logits, before)
