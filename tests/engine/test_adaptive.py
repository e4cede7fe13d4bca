"""Adaptive-p: beside its formula in plain Python, and by what it is for."""

import math
import operator
import random

import numpy as np
import pytest

from llmkit.engine.adaptive import Adaptive
from llmkit.engine.config import SamplingConfig
from llmkit.engine.sampling import Sampler


@pytest.mark.parametrize(("target", "decay"), [(0.0, 0.0), (0.3, 0.9), (0.5, 0.5), (0.9, 0.99), (1.0, 0.9)])
def test_scores_follow_the_formula_as_tokens_are_drawn(target: float, decay: float) -> None:
    chance = random.Random(1)
    adaptive = Adaptive(SamplingConfig(adaptive_target=target, adaptive_decay=decay))
    history = [target] * 5000  # as if for ever
    for _ in range(30):
        scores = [chance.gauss(0, 2) for _ in range(9)]
        shares = [math.exp(one) / sum(map(math.exp, scores)) for one in scores]
        ages = range(len(history) - 1, -1, -1)
        weights = [decay**age for age in ages]
        mean = sum(map(operator.mul, history, weights)) / sum(weights)
        aim = min(max(2 * target - mean, 0), 1)
        distances = [abs(p - aim) / 0.3 for p in shares]
        expected = [5 - 10 * d * d / (1 + d) for d in distances]
        assert adaptive.aim == pytest.approx(aim, abs=1e-6)
        found = adaptive.apply(np.array([*scores, -math.inf], np.float32))
        assert found[-1] == -math.inf and found.dtype == np.float32
        np.testing.assert_allclose(found[:-1], expected, rtol=1e-4, atol=1e-4)
        drawn = chance.randrange(9)
        adaptive.add(drawn)
        history.append(shares[drawn])


@pytest.mark.parametrize("target", [0.3, 0.4, 0.5])
def test_what_is_drawn_comes_near_the_probability_that_is_asked_for(target: float) -> None:
    likely = np.random.default_rng(0).uniform(0.6, 0.95, 3000)  # of two tokens the first

    def mean(asked: float) -> float:
        sampler = Sampler(SamplingConfig(temperature=1.0, adaptive_target=asked, seed=2), [0], 2)
        pairs = [(p, 1 - p) for p in likely]
        return float(np.mean([pair[sampler.draw(np.log(np.array(pair, np.float32)))] for pair in pairs]))

    assert abs(mean(target) - target) < 0.08 < abs(mean(-1.0) - target)


def test_to_look_at_its_step_changes_nothing() -> None:
    config = SamplingConfig(adaptive_target=0.4, top_k=20, seed=4)
    looking, plain = Sampler(config, [0], 100), Sampler(config, [0], 100)
    for row in np.random.default_rng(1).standard_normal((50, 100), np.float32):
        *_, (name, last) = looking.steps(row)
        assert name == "adaptive_p" and int((last > -math.inf).sum()) == 20
        assert looking.draw(row) == plain.draw(row)


def test_greedy_has_no_use_for_it() -> None:
    greedy = SamplingConfig(temperature=0.0, adaptive_target=0.1)
    assert not greedy.is_adaptive and not SamplingConfig().is_adaptive
    assert Sampler(greedy, [0], 3).draw(np.array([0.0, 2.0, 1.0], np.float32)) == 1
