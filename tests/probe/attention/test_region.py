"""Parts of a head's matrix, against transformers' attention weights cut and pooled by hand."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from attention_by_hand import FORMS, dense, random_layer
from family_models import make_pair

from llmkit.errors import UsageError
from llmkit.probe.attention.capture import capture
from llmkit.probe.attention.region import Region, bin_edges, region_map, region_of
from llmkit.probe.attention.rows import attention_rows

IDS = torch.arange(5, 45)


def test_cells_are_the_largest_weights_of_transformers_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.probe.attention.region._BLOCK_NUMBERS", 120)  # three queries at a time
    pair = make_pair("gemma2", {"sliding_window": 16}, tmp_path)
    (layer,) = capture(pair.ours, IDS, [0])
    with torch.no_grad():
        weights = pair.theirs(IDS[None], output_attentions=True).attentions[0][0, 3]
    exact = region_map(layer, 3, Region((10, 20), (4, 12)), 99, 99)
    assert (exact.rows, exact.cols) == (list(range(10, 21)), list(range(4, 13)))
    torch.testing.assert_close(exact.values.clamp(min=0), weights[10:20, 4:12], atol=1e-6, rtol=0)
    pooled = region_map(layer, 3, Region((10, 30), (0, 40)), 5, 8)
    by_hand = weights[10:30].view(5, 4, 8, 5).amax(dim=(1, 3))
    torch.testing.assert_close(pooled.values.clamp(min=0), by_hand, atol=1e-6, rtol=0)
    unseen = torch.ones(40, 40).tril()[10:30].view(5, 4, 8, 5).amax(dim=(1, 3)) == 0
    assert pooled.values[unseen].isneginf().all()


@pytest.mark.parametrize("numbers", [1, 100, 10_000])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_cells_are_those_of_the_whole_matrix(
    form: dict[str, Any], numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.probe.attention.region._BLOCK_NUMBERS", numbers)
    layer = random_layer(**form)
    _, weights, _ = dense(layer, 2)
    rows, columns = bin_edges(23, 5), bin_edges(23, 4)
    largest = torch.zeros(5, 4, dtype=torch.float64)
    for r in range(5):
        for c in range(4):
            largest[r, c] = weights[rows[r] : rows[r + 1], columns[c] : columns[c + 1]].max()
    whole = region_of(23, (None, None), (None, None))
    found = region_map(layer, 2, whole, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(found.values.clamp(min=0), largest, rtol=0, atol=1e-14)


def test_a_picture_has_no_more_cells_than_the_text_has_tokens() -> None:
    layer = random_layer(6)
    whole = region_map(layer, -1, region_of(6, (None, None), (None, None)), 100, 100, dtype=torch.float64)
    torch.testing.assert_close(whole.values.clamp(min=0), dense(layer, 3)[1], rtol=0, atol=1e-14)


def test_cells_differ_by_one_token_at_most() -> None:
    for tokens in (5, 7, 23, 1000):
        for cells in (1, 2, 3, 5):
            edges = bin_edges(tokens, cells)
            widths = {b - a for a, b in pairwise(edges)}
            assert edges[0] == 0 and edges[-1] == tokens and max(widths) - min(widths) <= 1


def test_scores_are_those_of_the_rows(tmp_path: Path) -> None:
    (layer,) = capture(make_pair("llama", {}, tmp_path).ours, IDS, [1])
    scores = region_map(layer, 2, region_of(40, (None, None), (None, None)), 40, 40, before=True)
    torch.testing.assert_close(scores.values, attention_rows(layer, 2, before=True))


def test_ranges_are_pythons_and_empty_ones_are_refused(tmp_path: Path) -> None:
    assert region_of(40, (-8, None), (None, 5)) == Region((32, 40), (0, 5))
    with pytest.raises(UsageError, match="no keys are left of a text of 40"):
        region_of(40, (None, None), (50, None))
    (layer,) = capture(make_pair("llama", {}, tmp_path).ours, IDS, [0])
    with pytest.raises(UsageError, match="0 x 3 cells"):
        region_map(layer, 0, Region((0, 4), (0, 4)), 0, 3)
