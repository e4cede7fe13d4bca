"""Tables of rows, with memory and without."""

import torch

from llmkit.model.fresh_embedding import fresh_embedding


def test_rows_are_drawn_from_a_normal_distribution() -> None:
    torch.manual_seed(0)
    weight = fresh_embedding(200, 50).weight
    assert weight.shape == (200, 50) and abs(weight.mean()) < 0.05 and abs(weight.std() - 1) < 0.05


def test_without_memory_nothing_is_drawn() -> None:
    before = torch.random.get_rng_state()
    with torch.device("meta"):
        assert fresh_embedding(200, 50).weight.is_meta
    assert torch.equal(torch.random.get_rng_state(), before)
