"""Parts of a head's matrix, against transformers' attention weights cut and pooled by hand."""

from pathlib import Path

import pytest
import torch
from family_models import make_pair

from llmkit.errors import UsageError
from llmkit.probe.attention.capture import capture
from llmkit.probe.attention.maps import attention_map
from llmkit.probe.attention.region import Region, region_map, region_of
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


def test_the_whole_matrix_is_the_map_of_the_whole_text_and_scores_are_those_of_its_rows(
    tmp_path: Path,
) -> None:
    (layer,) = capture(make_pair("llama", {}, tmp_path).ours, IDS, [1])
    everything = region_of(40, (None, None), (None, None))
    small = region_map(layer, 2, everything, 7, 9)
    torch.testing.assert_close(small.values.clamp(min=0), attention_map(layer, 2, 7, 9, cell="max"))
    scores = region_map(layer, 2, everything, 40, 40, before=True)
    torch.testing.assert_close(scores.values, attention_rows(layer, 2, before=True))


def test_ranges_are_pythons_and_empty_ones_are_refused(tmp_path: Path) -> None:
    assert region_of(40, (-8, None), (None, 5)) == Region((32, 40), (0, 5))
    with pytest.raises(UsageError, match="no keys are left of a text of 40"):
        region_of(40, (None, None), (50, None))
    (layer,) = capture(make_pair("llama", {}, tmp_path).ours, IDS, [0])
    with pytest.raises(UsageError, match="0 x 3 cells"):
        region_map(layer, 0, Region((0, 4), (0, 4)), 0, 3)
