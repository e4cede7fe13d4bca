"""One step explained: what it shows is what the sampler does."""

import math
from dataclasses import replace

import numpy as np
import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.engine.explain import STEPS, explain
from llmkit.engine.sampling import Sampler
from llmkit.engine.shaping import Scores, shape
from llmkit.engine.softmax import Softmax

LOGITS: Scores = np.random.default_rng(1).standard_normal(200, np.float32) * 3


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
        dry_multiplier=0.8,
        adaptive_target=0.3,
    )
    told = explain(LOGITS, Sampler(config, [0], 200), config, 5)
    on = [one for one in STEPS if one not in ("grammar", "mirostat")]
    assert [stage.step for stage in told.stages] == ["model", *on]
    settings = {stage.step: stage.setting for stage in told.stages}
    assert settings["adaptive_p"] == {"target": 0.3, "decay": 0.9}
    other = replace(config, adaptive_target=-1.0, mirostat=2)
    *_, last = explain(LOGITS, Sampler(other, [0], 200), other, 5).stages
    assert (last.step, last.setting) == ("mirostat", {"version": 2, "tau": 5.0, "eta": 0.1})
    assert settings["dry"] == {
        **{"multiplier": 0.8, "base": 1.75, "allowed_length": 2, "penalty_last_n": -1},
        "sequence_breakers": ("\n", ":", '"', "*"),
    }
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
    last = Softmax(shape(LOGITS, config)).probabilities
    for one in few.candidates:
        assert one.probability == pytest.approx(float(last[one.id]), rel=1e-5)
    by_hand = -sum(p * math.log2(p) for p in last.tolist() if p)
    assert few.entropy_bits == pytest.approx(by_hand, rel=1e-5)
    assert [one.id for one in model.candidates[:4]] == np.argsort(-LOGITS)[:4].tolist()


def test_what_a_step_rules_out_is_gone_from_its_candidates() -> None:
    config = SamplingConfig(top_k=1)
    told = explain(LOGITS, Sampler(config, [0], 200), config, 6)
    assert len(told.stages[0].candidates) == 6
    assert [one.id for one in told.stages[-1].candidates] == [int(LOGITS.argmax())]
