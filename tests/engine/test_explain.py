"""One step explained: what it shows is what the sampler does."""

import math

import pytest
import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.explain import STEPS, explain
from llmkit.engine.sampling import Sampler, shape

LOGITS = torch.randn(200, generator=torch.Generator().manual_seed(1)) * 3


def test_every_step_that_is_on_has_its_stage_and_no_other() -> None:
    config = SamplingConfig(
        logit_bias=((4, 2.0),),
        presence_penalty=0.5,
        top_k=50,
        top_p=0.9,
        min_p=0.01,
        typical_p=0.8,
        top_n_sigma=3.0,
        xtc_probability=0.5,
    )
    told = explain(LOGITS, Sampler(config, [0], 200), config, 5)
    assert [stage.step for stage in told.stages] == ["model", *(one for one in STEPS if one != "grammar")]
    greedy = SamplingConfig(temperature=0.0)
    (only,) = explain(LOGITS, Sampler(greedy, [0], 200), greedy, 5).stages
    assert only.step == "model" and only.left == 200


def test_the_token_is_the_one_that_the_sampler_draws_and_it_is_shown() -> None:
    for seed in range(20):
        config = SamplingConfig(seed=seed, temperature=1.5, top_p=0.95)
        told = explain(LOGITS, Sampler(config, [0], 200), config, 3)
        assert told.token == Sampler(config, [0], 200).draw(LOGITS)
        assert told.token in {one.id for one in told.stages[-1].candidates}


def test_probabilities_and_numbers_are_those_of_the_scores_after_the_step() -> None:
    config = SamplingConfig(temperature=0.7, top_k=20)
    model, warm, few = explain(LOGITS, Sampler(config, [0], 200), config, 4).stages
    assert (model.left, warm.left, few.left) == (200, 200, 20)
    assert (model.setting, warm.setting, few.setting) == (None, 0.7, 20)
    last = shape(LOGITS, config).softmax(0)
    for one in few.candidates:
        assert one.probability == pytest.approx(float(last[one.id]), rel=1e-5)
    by_hand = -sum(p * math.log2(p) for p in last.tolist() if p)
    assert few.entropy_bits == pytest.approx(by_hand, rel=1e-5)
    assert [one.id for one in model.candidates[:4]] == LOGITS.topk(4).indices.tolist()


def test_what_a_step_rules_out_is_gone_from_its_candidates() -> None:
    config = SamplingConfig(top_k=1)
    told = explain(LOGITS, Sampler(config, [0], 200), config, 6)
    assert len(told.stages[0].candidates) == 6
    assert [one.id for one in told.stages[-1].candidates] == [int(LOGITS.argmax())]
