"""Figures of heads against the whole matrix in float64, and against what they are by definition."""

import math
from typing import Any

import pytest
import torch
from attention_by_hand import BOS, FORMS, REPEATED, dense, planted_model, random_layer
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.probe.attention import statistics
from llmkit.probe.attention.capture import Captured, capture
from llmkit.probe.attention.config import StatisticsConfig
from llmkit.probe.attention.patterns import repeated_random_ids
from llmkit.probe.attention.rows import blocks, frame_of
from llmkit.probe.attention.statistics import HeadStatistics, head_statistics


def _ids(tokens: int = 23) -> Tensor:
    return torch.randint(0, 5, (tokens,), generator=torch.Generator().manual_seed(2))


def _figures(one: HeadStatistics) -> dict[str, float]:
    return {name: value for name, value in vars(one).items() if isinstance(value, int | float)}


def _expected(layer: Captured, head: int, ids: Tensor, near: int) -> dict[str, float]:
    """Every figure out of whole matrices."""
    scores, weights, null = dense(layer, head)
    T = len(ids)
    outcomes = torch.cat((weights, null[:, None]), dim=1)
    entropy = -(outcomes * outcomes.clamp(min=1e-300).log()).sum(1)
    choices = torch.isfinite(scores).sum(1) + (layer.sinks is not None)
    several = choices > 1
    i, j = torch.arange(T)[:, None], torch.arange(T)[None]
    matrix = layer.o_proj.weight.detach().double()[:, 5 * head : 5 * head + 5]
    norms = (layer.v[layer.group(head)].double() @ matrix.T).norm(dim=1)
    weighted = weights * norms
    seen = scores[torch.isfinite(scores)]
    apart = seen - seen.mean()
    normalised = entropy[several] / choices[several].double().log()
    return {
        **{"layer": 3, "head": head, "tokens": T, "local_window": near},
        "entropy": float(entropy.mean()),
        "normalised_entropy": float(normalised.mean()) if several.any() else 0.0,
        "effective_span": float(entropy.exp().mean()),
        "mean_distance": float((weights * (i - j)).sum() / T),
        "max_weight": float(weights.amax(1).mean()),
        "bos_mass": float(weights[:, 0].mean()),
        "current_token": float(weights.diagonal().mean()),
        "local_mass": float((weights * (j > i - near)).sum() / T),
        "null_mass": float(null.mean()),
        "score_min": float(seen.min()),
        "score_max": float(seen.max()),
        "score_kurtosis": float((apart**4).mean() / (apart**2).mean() ** 2),
        "weighted_distance": float((weighted * (i - j)).sum() / weighted.sum()),
        "weighted_bos_mass": float(weighted[:, 0].sum() / weighted.sum()),
    }


@pytest.mark.parametrize("numbers", [1, 100, 10_000])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_figures_are_those_of_the_whole_matrix(
    form: dict[str, Any], numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        statistics, "frames", lambda layer: (frame_of(layer, one) for one in blocks(layer, numbers=numbers))
    )
    ids, config = _ids(), StatisticsConfig(local_window=4)
    for dtype, rel, absolute in ((torch.float64, 1e-11, 1e-12), (torch.float32, 1e-5, 1e-6)):
        layer = random_layer(**form, dtype=dtype)
        for head, found in enumerate(head_statistics(layer, ids, config=config, dtype=dtype)):
            expected = _expected(layer, head, ids, 4)
            assert _figures(found) == pytest.approx(expected, rel=rel, abs=absolute)


def test_a_head_that_looks_everywhere_alike_has_the_entropy_of_its_keys() -> None:
    layer = random_layer(50)
    layer.q.zero_()
    found = head_statistics(layer, _ids(50), dtype=torch.float64)[0]
    assert found.entropy == pytest.approx(sum(math.log(i + 1) for i in range(50)) / 50, rel=1e-12)
    assert found.normalised_entropy == pytest.approx(1, rel=1e-12)
    assert found.effective_span == pytest.approx(25.5, rel=1e-12)
    assert found.mean_distance == pytest.approx(24.5 / 2, rel=1e-12)
    assert math.isnan(found.score_kurtosis)


def test_one_token_has_figures_too() -> None:
    found = head_statistics(random_layer(1), torch.tensor([3]))[0]
    assert (found.entropy, found.normalised_entropy, found.bos_mass, found.current_token) == (0, 0, 1, 1)
    assert found.previous.score() == found.duplicate.score() == found.induction.score() == 0


def test_heads_are_those_asked_for_and_values_may_be_left_alone() -> None:
    layer, ids = random_layer(), _ids()
    found = head_statistics(layer, ids, heads=[2, -1], config=StatisticsConfig(by_value_norm=False))
    assert [one.head for one in found] == [2, 3]
    assert found[0].weighted_distance is None and found[0].weighted_bos_mass is None
    assert found[0].entropy == head_statistics(layer, ids)[2].entropy
    with pytest.raises(UsageError, match="22 ids for 23 captured tokens"):
        head_statistics(layer, ids[1:])


def test_a_planted_head_scores_where_it_was_planted_and_nowhere_else() -> None:
    ids = repeated_random_ids(BOS, REPEATED, torch.Generator().manual_seed(0), bos=BOS)
    planted = {"previous": (0, 0), "sink": (0, 1), "uniform": (0, 2), "induction": (1, 0)}
    planted |= {"duplicate": (1, 1), "current": (1, 2)}
    kept = {"exclude_bos": True, "exclude_current_token": True}  # where heads look that find nothing
    for layer in capture(planted_model(), ids):
        for one in head_statistics(layer, ids):
            scores = {
                "previous": one.previous.score(**kept),
                "duplicate": one.duplicate.score(**kept),
                "induction": one.induction.score(**kept),
                "sink": one.bos_mass,
            }
            for name, score in scores.items():
                if planted[name] == (one.layer, one.head):
                    assert score >= 0.99, (name, one)
                else:
                    assert score <= 0.1, (name, one)
            assert (one.current_token >= 0.99) == (planted["current"] == (one.layer, one.head))
            assert (one.normalised_entropy >= 0.99) == (planted["uniform"] == (one.layer, one.head))
