"""Windows that slide or stand side by side: what they begin with, beside the mask of the modules."""

import pytest
import torch

from llmkit.model.layout import layout_mask
from llmkit.model.window import first_position_seen


@pytest.mark.parametrize("window", [1, 3, 12, 40, None])
@pytest.mark.parametrize("chunked", [False, True])
def test_what_is_seen_begins_where_the_mask_of_a_window_does(window: int | None, chunked: bool) -> None:
    mask = layout_mask(0, 12, torch.device("cpu"), window=window, chunked=chunked)
    mask = torch.ones(12, 12, dtype=torch.bool).tril() if mask is None else mask
    for position, row in enumerate(mask):
        assert first_position_seen(position, window, chunked=chunked) == int(row.nonzero()[0])


def test_chunks_begin_at_multiples_of_their_length() -> None:
    found = [first_position_seen(position, 4, chunked=True) for position in range(9)]
    assert found == [0, 0, 0, 0, 4, 4, 4, 4, 8]
