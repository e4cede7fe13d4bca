"""Sampling: every step beside transformers' own on random scores, and the draw beside its probabilities."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Drawn
from llmkit.engine.sampling import (
    Sampler,
    exclude_top,
    keep_min_p,
    keep_top_k,
    keep_top_n_sigma,
    keep_top_p,
    keep_typical_p,
    scored,
    shape,
    shaping,
    uncertainty,
)
from llmkit.errors import DataError


def _logits(seed: int, size: int = 3000, spread: float = 3.0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * spread


def _kept(logits: Tensor) -> Tensor:
    return logits > -math.inf


@pytest.mark.parametrize("k", [1, 2, 50, 2999, 3000, 10_000])
def test_top_k_is_transformers(k: int) -> None:
    from transformers import TopKLogitsWarper

    logits = _logits(k)
    assert torch.equal(keep_top_k(logits, k), TopKLogitsWarper(k)(None, logits[None].clone())[0])


@pytest.mark.parametrize("p", [1e-6, 0.1, 0.5, 0.9, 0.999, 0.99999])
@pytest.mark.parametrize("spread", [0.01, 1.0, 5.0])
def test_top_p_is_transformers_whether_few_or_nearly_all_are_kept(p: float, spread: float) -> None:
    from transformers import TopPLogitsWarper

    logits = _logits(1, spread=spread)
    theirs = TopPLogitsWarper(p)(None, logits[None].double())[0]  # float32 sums would be off by some
    assert torch.equal(_kept(keep_top_p(logits, p)), _kept(theirs))


@pytest.mark.parametrize("p", [0.001, 0.05, 0.5, 1.0])
def test_min_p_is_transformers(p: float) -> None:
    from transformers import MinPLogitsWarper

    logits = _logits(2)
    theirs = MinPLogitsWarper(p)(None, logits[None].double())[0]
    assert torch.equal(_kept(keep_min_p(logits, p)), _kept(theirs))


@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("spread", [0.3, 1.0, 5.0])
def test_typical_p_is_transformers_also_of_what_top_k_left(p: float, spread: float) -> None:
    from transformers import TypicalLogitsWarper

    logits = _logits(7, spread=spread)
    for left in (logits, keep_top_k(logits, 50)):
        theirs = TypicalLogitsWarper(p)(None, left[None].double())[0]
        assert torch.equal(_kept(keep_typical_p(left, p)), _kept(theirs))


def test_a_step_that_is_off_changes_nothing() -> None:
    logits = _logits(3)
    off = (keep_top_k(logits, 0), keep_top_p(logits, 1.0), keep_min_p(logits, 0.0), keep_typical_p(logits, 1))
    for same in off:
        assert torch.equal(same, logits)
    assert [name for name, *_ in shaping(SamplingConfig())] == ["temperature"]


def test_bias_is_added_before_penalties_which_come_before_the_rest() -> None:
    config = SamplingConfig(temperature=0.5, logit_bias=((1, 3.0),), repetition_penalty=2.0, top_k=2)
    steps = dict(Sampler(config, [1], 3).steps(torch.tensor([1.0, -1.0, 0.5])))
    assert steps["bias"].tolist() == [1.0, 2.0, 0.5]
    assert steps["penalties"].tolist() == [1.0, 1.0, 0.5]  # halved, and not doubled as -1 would be
    assert steps["temperature"].tolist() == [0.0, 0.0, -1.0]
    assert list(steps)[-1] == "top_k" and steps["top_k"].tolist() == [0.0, 0.0, -math.inf]


def test_entropy_and_rank_are_those_of_the_models_own_distribution() -> None:
    logits = torch.tensor([1.0, 3.0, 2.0, 2.0]).log()  # 1/8, 3/8, 2/8, 2/8
    by_hand = 3 / 8 + 3 / 8 * math.log2(8 / 3) + 2 * 1 / 4 * 2
    for token, rank in ((1, 1), (2, 2), (3, 2), (0, 4)):
        assert uncertainty(logits, token) == (pytest.approx(by_hand, rel=1e-6), rank)
    assert uncertainty(torch.tensor([0.0, -math.inf]), 1) == (0.0, 2)


def test_a_scored_token_has_the_margin_of_the_best_two_however_few_alternatives_are_told() -> None:
    logits = torch.tensor([1.0, 5.0, 2.0]).log()  # 1/8, 5/8, 2/8
    for count in (0, 1, 2, 3):
        found = scored(Drawn(0), logits, count)
        assert found.margin == pytest.approx(3 / 8) and len(found.top) == count
    assert scored(Drawn(0), torch.tensor([1.0]), 1).margin == pytest.approx(1.0)  # there is no second


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_top_n_sigma_keeps_what_is_near_the_best_whatever_the_temperature(temperature: float) -> None:
    logits = torch.tensor([5.0, 3.0, 2.0, 1.0, -1.0, -math.inf])  # of those alive mean 2, deviation 2
    steps = dict(Sampler(SamplingConfig(temperature=temperature, top_n_sigma=1.1), [], 6).steps(logits))
    assert _kept(steps["top_n_sigma"]).tolist() == [True, True, False, False, False, False]
    assert _kept(keep_top_n_sigma(logits, 1.6)).tolist() == [True, True, True, False, False, False]
    assert torch.equal(keep_top_n_sigma(logits, 0.0), logits)


def test_of_the_likely_ones_the_least_likely_and_all_others_stay() -> None:
    logits = torch.tensor([0.05, 0.4, 0.2, 0.3, 0.05]).log()
    for threshold, left in ((0.15, [0, 2, 4]), (0.25, [0, 2, 3, 4]), (0.35, [0, 1, 2, 3, 4]), (0.01, [0, 4])):
        assert _kept(exclude_top(logits, threshold)).nonzero()[:, 0].tolist() == left
    assert torch.equal(exclude_top(logits, 0.9), logits)


def test_the_likely_ones_are_left_out_as_often_as_asked_and_to_look_changes_nothing() -> None:
    config = SamplingConfig(temperature=1.0, xtc_probability=0.25, xtc_threshold=0.3, seed=5)
    logits = torch.tensor([0.6, 0.4]).log()
    looking, plain = Sampler(config, [0], 2), Sampler(config, [0], 2)
    drawn = []
    for _ in range(4000):
        for _ in range(2):
            list(looking.steps(logits))
        drawn.append(looking.draw(logits))
    assert [plain.draw(logits) for _ in drawn] == drawn
    share = drawn.count(0) / len(drawn)  # 0.75 * 0.6, and a deviation of 0.0079
    assert abs(share - 0.45) < 4 * 0.0079


def test_tokens_as_good_as_the_last_one_kept_are_kept() -> None:
    logits = torch.tensor([1.0, 3.0, 2.0, 2.0, 0.0])
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
    theirs = steps(torch.tensor([[0]]), logits[None].double())[0].softmax(0)
    ours = shape(logits, SamplingConfig(**settings)).double().softmax(0)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-12)


def test_tokens_are_drawn_as_often_as_their_probabilities_say() -> None:
    config = SamplingConfig(temperature=0.9, top_k=12, top_p=0.95, min_p=0.01, seed=11)
    logits = _logits(5, size=30, spread=1.5)
    expected = shape(logits, config).softmax(0)
    sampler = Sampler(config, [0], len(logits))
    draws = 20_000
    counts = torch.bincount(torch.tensor([sampler.draw(logits) for _ in range(draws)]), minlength=30)
    possible = expected > 0
    assert counts[~possible].sum() == 0 and 3 < possible.sum() < 13
    chi_square = ((counts - draws * expected).square() / (draws * expected))[possible].sum()
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
    ours, theirs = (Sampler(config, [0], 3000) for _ in range(2))
    generator = theirs._generator
    for seed in range(60):
        logits = _logits(seed, spread=0.5 + seed % 7)
        *_, (_, last) = theirs.steps(logits)  # (V,), what was ruled out among it
        cumulative = last.softmax(0, dtype=torch.float64).cumsum(0)
        chance = torch.rand(1, generator=generator, dtype=torch.float64) * cumulative[-1]
        theirs._chance = None
        assert ours.draw(logits) == int(torch.searchsorted(cumulative, chance, right=True))


def test_greedy_takes_the_best_and_of_equals_the_first() -> None:
    sampler = Sampler(SamplingConfig(temperature=0.0), [0], 4)
    assert sampler.draw(torch.tensor([0.0, 2.0, 1.0, 2.0])) == 1


@pytest.mark.parametrize(("chance", "token"), [(0.0, 400), (0.4999, 400), (0.5, 401), (1 - 2**-53, 401)])
def test_a_token_without_probability_is_never_drawn_even_at_the_edges(
    chance: float, token: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = torch.full((1000,), -math.inf)
    logits[[400, 401]] = 0.0
    sampler = Sampler(SamplingConfig(temperature=1.0), [0], 1000)
    monkeypatch.setattr(torch, "rand", lambda *size, **rest: torch.tensor([chance], dtype=torch.float64))
    assert sampler.draw(logits) == token


def test_penalties_count_what_this_sampler_drew() -> None:
    sampler = Sampler(SamplingConfig(temperature=0.0, frequency_penalty=1.0), [1], 3)
    logits = torch.tensor([3.0, 2.5, 1.4])
    assert [sampler.draw(logits) for _ in range(6)] == [0, 1, 0, 1, 2, 0]  # 3 2 1, 2.5 1.5 0.5, 1.4 0.4


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    logits = _logits(6)

    def drawn(seed: int) -> list[int]:
        sampler = Sampler(SamplingConfig(seed=seed), [0], len(logits))
        torch.rand(7)  # the global generator has no part in it
        return [sampler.draw(logits) for _ in range(20)]

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_bad_data(temperature: float, wrong: float) -> None:
    sampler = Sampler(SamplingConfig(temperature=temperature), [0], 3)
    with pytest.raises(DataError, match="not finite"):
        sampler.draw(torch.tensor([0.0, wrong, 1.0]))
