"""Small pictures against the whole matrix cut into cells."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from attention_by_hand import FORMS, dense, random_layer

from llmkit.errors import UsageError
from llmkit.probe.attention import maps
from llmkit.probe.attention.maps import attention_map, bin_edges
from llmkit.probe.attention.rows import blocks


@pytest.mark.parametrize("numbers", [1, 100, 10_000])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_cells_are_those_of_the_whole_matrix(
    form: dict[str, Any], numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "blocks", lambda layer: blocks(layer, numbers=numbers))
    layer = random_layer(**form)
    _, weights, null = dense(layer, 2)
    rows, columns = bin_edges(23, 5), bin_edges(23, 4)
    mass, largest = torch.zeros(5, 4, dtype=torch.float64), torch.zeros(5, 4, dtype=torch.float64)
    for r in range(5):
        for c in range(4):
            cell = weights[rows[r] : rows[r + 1], columns[c] : columns[c + 1]]
            mass[r, c], largest[r, c] = cell.sum(1).mean(), cell.max()
    found = attention_map(layer, 2, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(found, mass, rtol=0, atol=1e-14)
    torch.testing.assert_close(
        attention_map(layer, 2, 5, 4, cell="max", dtype=torch.float64), largest, rtol=0, atol=1e-14
    )
    shares = torch.stack([null[rows[r] : rows[r + 1]].mean() for r in range(5)])
    torch.testing.assert_close(found.sum(1) + shares, torch.ones(5, dtype=torch.float64))


def test_a_picture_has_no_more_cells_than_the_text_has_tokens() -> None:
    layer = random_layer(6)
    whole = attention_map(layer, -1, 100, 100, dtype=torch.float64)
    torch.testing.assert_close(whole, dense(layer, 3)[1], rtol=0, atol=1e-14)
    with pytest.raises(UsageError, match="0 x 5 cells"):
        attention_map(layer, 0, 0, 5)


def test_cells_differ_by_one_token_at_most() -> None:
    for tokens in (5, 7, 23, 1000):
        for cells in (1, 2, 3, 5):
            edges = bin_edges(tokens, cells)
            widths = {b - a for a, b in pairwise(edges)}
            assert edges[0] == 0 and edges[-1] == tokens and max(widths) - min(widths) <= 1
