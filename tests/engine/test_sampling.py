"""Sampling: the order of the steps, and the draw beside its probabilities."""

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Drawn, Request
from llmkit.engine.sampling import Sampler, draw, sampler_of, scored
from llmkit.engine.seeds import Chances
from llmkit.engine.shaping import Scores, shape
from llmkit.engine.softmax import Softmax
from llmkit.errors import DataError


def _logits(seed: int, size: int = 3000, spread: float = 3.0) -> Scores:
    scores = np.random.default_rng(seed).standard_normal(size, np.float32) * np.float32(spread)
    scores.flags.writeable = False  # as they are given, so they stay
    return scores


def _array(*scores: float) -> Scores:
    return np.array(scores, np.float32)


def test_a_requests_own_sampler_knows_its_settings_and_when_it_may_end() -> None:
    sampling = SamplingConfig(temperature=0.0, logit_bias=((2, 1.0),))
    logits, ends = _array(1.0, 1.5, 0.9), frozenset({2})
    plain, longer = (sampler_of(Request((0,), sampling, min_tokens=one), 3, ends) for one in (0, 2))
    assert [plain.draw(logits) for _ in range(2)] == [2, 2]
    assert [longer.draw(logits) for _ in range(3)] == [1, 1, 2]


def test_bias_is_added_before_penalties_which_come_before_the_rest() -> None:
    config = SamplingConfig(temperature=0.5, logit_bias=((1, 3.0),), repetition_penalty=2.0, top_k=2)
    steps = dict(Sampler(config, [1], 3).steps(_array(1.0, -1.0, 0.5)))
    assert steps["bias"].tolist() == [1.0, 2.0, 0.5]
    assert steps["penalties"].tolist() == [1.0, 1.0, 0.5]  # halved, and not doubled as -1 would be
    assert steps["temperature"].tolist() == [0.0, 0.0, -1.0]
    assert list(steps)[-1] == "top_k" and steps["top_k"].tolist() == [0.0, 0.0, -math.inf]


def test_entropy_and_rank_are_those_of_the_models_own_distribution() -> None:
    logits = np.log(_array(1.0, 3.0, 2.0, 2.0))  # 1/8, 3/8, 2/8, 2/8
    by_hand = 3 / 8 + 3 / 8 * math.log2(8 / 3) + 2 * 1 / 4 * 2
    for token, rank in ((1, 1), (2, 2), (3, 2), (0, 4)):
        found = scored(Drawn(token), logits, 0)
        assert found.entropy_bits == pytest.approx(by_hand, rel=1e-6) and found.rank == rank
    ruled_out = scored(Drawn(1), _array(0.0, -math.inf), 2)
    assert (ruled_out.entropy_bits, ruled_out.rank, len(ruled_out.top)) == (0.0, 2, 1)


def test_a_scored_token_has_the_margin_of_the_best_two_however_few_alternatives_are_told() -> None:
    logits = np.log(_array(1.0, 5.0, 2.0))  # 1/8, 5/8, 2/8
    for count in (0, 1, 2, 3):
        found = scored(Drawn(0), logits, count)
        assert found.margin == pytest.approx(3 / 8) and len(found.top) == count
        assert found.score is not None and found.score.logprob == pytest.approx(math.log(1 / 8))
    assert scored(Drawn(0), _array(1.0), 1).margin == pytest.approx(1.0)  # there is no second


def test_the_likely_ones_are_left_out_as_often_as_asked_and_to_look_changes_nothing() -> None:
    config = SamplingConfig(temperature=1.0, xtc_probability=0.25, xtc_threshold=0.3, seed=5)
    logits = np.log(_array(0.6, 0.4))
    looking, plain = Sampler(config, [0], 2), Sampler(config, [0], 2)
    drawn = []
    for _ in range(4000):
        for _ in range(2):
            list(looking.steps(logits))
        drawn.append(looking.draw(logits))
    assert [plain.draw(logits) for _ in drawn] == drawn
    share = drawn.count(0) / len(drawn)  # 0.75 * 0.6, and a deviation of 0.0079
    assert abs(share - 0.45) < 4 * 0.0079


def test_tokens_are_drawn_as_often_as_their_probabilities_say() -> None:
    config = SamplingConfig(temperature=0.9, top_k=12, top_p=0.95, min_p=0.01, seed=11)
    logits = _logits(5, size=30, spread=1.5)
    expected = Softmax(shape(logits, config)).probabilities
    sampler = Sampler(config, [0], len(logits))
    draws = 20_000
    counts = np.bincount([sampler.draw(logits) for _ in range(draws)], minlength=30)
    possible = expected > 0
    assert counts[~possible].sum() == 0 and 3 < possible.sum() < 13
    chi_square = ((counts - draws * expected)[possible] ** 2 / (draws * expected[possible])).sum()
    freedom = int(possible.sum()) - 1
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom)  # four standard deviations above the mean


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.6, "top_k": 40, "top_p": 0.9},
        {"top_p": 0.99},
        {"min_p": 0.01, "samplers": ("min_p", "top_k", "temperature"), "top_k": 7},
        {"top_n_sigma": 2.0, "typical_p": 0.8},
        {"top_k": 50, "xtc_probability": 0.5, "xtc_threshold": 0.02},
    ],
)
def test_a_draw_among_what_is_left_is_one_from_the_whole_vocabulary(settings: dict[str, Any]) -> None:
    config = SamplingConfig(seed=3, **settings)
    ours, looking = (Sampler(config, [0], 3000) for _ in range(2))
    chances = Chances(3)
    for seed in range(60):
        logits = _logits(seed, spread=0.5 + seed % 7)
        *_, (_, last) = looking.steps(logits)  # (V,), what was ruled out among it
        looking.draw(logits)
        if config.xtc_probability:
            chances.next()
        cumulative = Softmax(last).probabilities.cumsum()
        place = chances.next() * cumulative[-1]
        assert ours.draw(logits) == int(np.searchsorted(cumulative, place, side="right"))


def test_greedy_takes_the_best_and_of_equals_the_first() -> None:
    sampler = Sampler(SamplingConfig(temperature=0.0), [0], 4)
    assert sampler.draw(_array(0.0, 2.0, 1.0, 2.0)) == 1


@pytest.mark.parametrize(("chance", "token"), [(0.0, 400), (0.4999, 400), (0.5, 401), (1 - 2**-53, 401)])
def test_a_token_without_probability_is_never_drawn_even_at_the_edges(chance: float, token: int) -> None:
    logits = np.full(1000, -math.inf, np.float32)
    logits[[400, 401]] = 0.0
    assert draw(logits, chance) == token


def test_penalties_count_what_this_sampler_drew() -> None:
    sampler = Sampler(SamplingConfig(temperature=0.0, frequency_penalty=1.0), [1], 3)
    logits = _array(3.0, 2.5, 1.4)
    assert [sampler.draw(logits) for _ in range(6)] == [0, 1, 0, 1, 2, 0]  # 3 2 1, 2.5 1.5 0.5, 1.4 0.4


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    logits = _logits(6)

    def drawn(seed: int) -> list[int]:
        sampler = Sampler(SamplingConfig(seed=seed), [0], len(logits))
        np.random.random(7)  # the global generator has no part in it
        return [sampler.draw(logits) for _ in range(20)]

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_bad_data(temperature: float, wrong: float) -> None:
    sampler = Sampler(SamplingConfig(temperature=temperature), [0], 3)
    with pytest.raises(DataError, match="not finite"):
        sampler.draw(_array(0.0, wrong, 1.0))


def test_drawing_loads_no_torch() -> None:
    loads = "import sys, llmkit.engine.explain, llmkit.engine.sampling; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
