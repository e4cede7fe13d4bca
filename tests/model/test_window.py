"""Sliding windows: what they begin with, beside the mask of the modules."""

import pytest
import torch

from llmkit.model.layout import layout_mask
from llmkit.model.window import first_position_seen


@pytest.mark.parametrize("window", [1, 3, 12, 40, None])
def test_what_is_seen_begins_where_the_mask_of_a_window_does(window: int | None) -> None:
    mask = layout_mask(0, 12, torch.device("cpu"), window=window)
    mask = torch.ones(12, 12, dtype=torch.bool).tril() if mask is None else mask
    for position, row in enumerate(mask):
        assert first_position_seen(position, window) == int(row.nonzero()[0])
