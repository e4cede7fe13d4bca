"""Mirostat: beside its formulas in plain Python, and by what it is for."""

import math
import random

import numpy as np
import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.engine.mirostat import Mirostat
from llmkit.engine.sampling import Sampler


def _by_formula(version: int, shares: list[float], limit: float, vocab_size: int) -> int:
    """How many of the likeliest are kept; shares best first."""
    if version == 2:
        return max(1, sum(-math.log2(share) <= limit for share in shares))
    top = shares[:100]
    steps = [math.log((i + 2) / (i + 1)) for i in range(len(top) - 1)]
    falls = [math.log(top[i] / top[i + 1]) for i in range(len(top) - 1)]
    slope = sum(t * b for t, b in zip(steps, falls, strict=True)) / sum(t * t for t in steps)
    share = (slope - 1) * 2**limit / (1 - vocab_size ** -(slope - 1))
    return max(1, min(int(share ** (1 / slope)), len(shares)))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("tau", "eta"), [(5.0, 0.1), (2.0, 1.0), (8.0, 0.0), (0.0, 0.5)])
def test_what_is_kept_follows_the_formula_as_tokens_are_drawn(version: int, tau: float, eta: float) -> None:
    chance = random.Random(2)
    mirostat = Mirostat(SamplingConfig(mirostat=version, mirostat_tau=tau, mirostat_eta=eta), 250)
    limit = 2 * tau
    for _ in range(40):
        scores = sorted((chance.gauss(0, 2) for _ in range(200)), reverse=True)
        shares = [math.exp(one) / sum(map(math.exp, scores)) for one in scores]
        count = _by_formula(version, shares, limit, 250)
        found = mirostat.apply(np.array([*scores, -math.inf], np.float32))
        assert np.flatnonzero(found > -math.inf).tolist() == [*range(count)]
        np.testing.assert_array_equal(found[:count], np.array(scores[:count], np.float32))
        drawn = chance.randrange(count)
        mirostat.add(drawn)
        limit -= eta * (-math.log2(shares[drawn] / sum(shares[:count])) - tau)
        assert mirostat.limit == pytest.approx(limit, abs=1e-4)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tau", [2.0, 3.0, 5.0])
def test_what_is_drawn_surprises_on_average_by_as_much_as_is_asked_for(version: int, tau: float) -> None:
    rows = np.random.default_rng(5).standard_normal((1500, 2000), np.float32) * 2
    config = SamplingConfig(temperature=1.0, mirostat=version, mirostat_tau=tau, seed=3)

    def bits(asked: SamplingConfig) -> float:
        sampler = Sampler(asked, [0], 2000)
        total = 0.0
        for row in rows:
            *_, (_, last) = [("model", row), *sampler.steps(row)]
            total += math.log2(np.exp(last - last.max()).sum()) - (
                last[sampler.draw(row)] - last.max()
            ) / math.log(2)
        return total / len(rows)

    assert abs(bits(config) - tau) < 0.1
    assert bits(SamplingConfig(temperature=1.0, seed=3)) > 7


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("scores", [[0.5], [1.0, 1.0, 1.0], [3.0, -np.inf, -np.inf], [0.0, -60.0, -90.0]])
def test_scores_without_a_slope_leave_something_to_draw(version: int, scores: list[float]) -> None:
    mirostat = Mirostat(SamplingConfig(mirostat=version, mirostat_tau=900.0, mirostat_eta=1.0), 3)
    for _ in range(5):
        found = mirostat.apply(np.array(scores, np.float32))
        assert found.argmax() == 0 and not np.isnan(found).any()
        mirostat.add(0)


def test_a_vocabulary_of_one_token_has_its_token() -> None:
    for version in (1, 2):
        sampler = Sampler(SamplingConfig(mirostat=version), [0], 1)
        assert sampler.draw(np.zeros(1, np.float32)) == 0


@pytest.mark.parametrize("version", [1, 2])
def test_to_look_at_its_step_changes_nothing(version: int) -> None:
    config = SamplingConfig(mirostat=version, mirostat_tau=2.0, top_k=50, seed=4)
    looking, plain = Sampler(config, [0], 100), Sampler(config, [0], 100)
    for row in np.random.default_rng(1).standard_normal((50, 100), np.float32):
        *_, (name, last) = looking.steps(row)
        assert name == "mirostat" and int((last > -math.inf).sum()) < 50
        assert looking.draw(row) == plain.draw(row)


def test_greedy_has_no_use_for_it() -> None:
    greedy = SamplingConfig(temperature=0.0, mirostat=2)
    assert Sampler(greedy, [0], 3).draw(np.array([0.0, 2.0, 1.0], np.float32)) == 1
