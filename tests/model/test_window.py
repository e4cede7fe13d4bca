"""Windows that slide or stand side by side: what they begin with, beside the mask of the modules."""

import pytest
import torch

from llmkit.model.layout import layout_mask
from llmkit.model.window import Window


@pytest.mark.parametrize("size", [1, 3, 12, 40, None])
@pytest.mark.parametrize("chunked", [False, True])
def test_what_is_seen_begins_where_the_mask_of_a_window_does(size: int | None, chunked: bool) -> None:
    window = Window(size, chunked)
    mask = layout_mask(0, 12, torch.device("cpu"), window=window)
    mask = torch.ones(12, 12, dtype=torch.bool).tril() if mask is None else mask
    for position, row in enumerate(mask):
        assert window.first_seen(position) == int(row.nonzero()[0])


def test_chunks_begin_at_multiples_of_their_length() -> None:
    found = [Window(4, chunked=True).first_seen(position) for position in range(9)]
    assert found == [0, 0, 0, 0, 4, 4, 4, 4, 8]
