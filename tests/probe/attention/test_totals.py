"""Sums over blocks against sums over whole matrices."""

import pytest
import torch
from attention_by_hand import dense, random_layer

from llmkit.probe.attention.config import StatisticsConfig
from llmkit.probe.attention.patterns import PatternBlock
from llmkit.probe.attention.rows import frame_of, rows_of
from llmkit.probe.attention.totals import Totals


def _added(cuts: list[int], config: StatisticsConfig) -> Totals:
    layer, ids = random_layer(), torch.arange(23) % 4
    totals = Totals(layer, 1, config, torch.float64)
    for queries in torch.arange(23).split(cuts):
        frame = frame_of(layer, queries)
        totals.add(rows_of(layer, 1, frame, dtype=torch.float64), PatternBlock(ids, frame))
    return totals


@pytest.mark.parametrize("cuts", [[23], [1, 4, 18]])
def test_blocks_add_up(cuts: list[int]) -> None:
    found = _added(cuts, StatisticsConfig(local_window=3))
    scores, weights, _ = dense(random_layer(), 1)
    i, j = torch.arange(23)[:, None], torch.arange(23)[None]
    distances = (weights * (i - j)).sum()
    assert float(found.sums[3]) == pytest.approx(float(distances), rel=1e-12)
    assert float(found.sums[5]) == pytest.approx(float((weights * (j > i - 3)).sum()), rel=1e-12)
    assert found.high == pytest.approx(float(scores.max()), rel=1e-12)
    assert found.low == pytest.approx(float(scores[torch.isfinite(scores)].min()), rel=1e-12)
    assert found.moments.count == 23 * 24 // 2
    assert found.attention.everywhere == pytest.approx(23, rel=1e-12)
    assert found.inside[0].everywhere == pytest.approx(float(weights.diagonal(-1).sum()), rel=1e-12)


def test_values_are_left_alone_where_nobody_asks() -> None:
    assert _added([23], StatisticsConfig(by_value_norm=False)).weighted.tolist() == [0, 0, 0]
    assert (_added([23], StatisticsConfig()).weighted > 0).all()
