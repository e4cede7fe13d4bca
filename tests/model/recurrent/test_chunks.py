"""Positions in chunks, and what is left of one at another."""

import torch

from llmkit.model.recurrent.chunks import CHUNK, decays, in_chunks


def test_the_last_chunk_is_filled_up_with_zeros() -> None:
    x = torch.randn(2, 3, CHUNK + 5, 4)
    chunks = in_chunks(x)
    assert chunks.shape == (2, 3, 2, CHUNK, 4) and torch.equal(chunks.flatten(2, 3)[:, :, : CHUNK + 5], x)
    assert not chunks[:, :, 1, 5:].any()


def test_what_is_left_is_the_product_of_the_decays_between() -> None:
    g = -torch.rand(1, 2, 1, CHUNK, dtype=torch.float64)
    decay, enters, leaves, stays = decays(g, None)
    torch.testing.assert_close(decay[0, 1, 0, 9, 4], g[0, 1, 0, 5:10].sum().exp())
    assert not decay.triu(1).any()
    torch.testing.assert_close(enters[0, 0, 0, 7], g[0, 0, 0, :8].sum().exp())
    torch.testing.assert_close(leaves[0, 0, 0, 7], g[0, 0, 0, 8:].sum().exp())
    torch.testing.assert_close(stays, g.sum(-1).exp())


def test_a_decay_beside_one_that_forgets_everything_keeps_its_digits() -> None:
    g = torch.full((1, 1, 1, CHUNK), -1e-4)
    g[..., 0] = -1000.0  # a float32 sum from here on has four digits behind the point
    torch.testing.assert_close(decays(g, None)[0][0, 0, 0, 2, 1], g[..., 2].exp()[0, 0, 0], rtol=1e-7, atol=0)


def test_nothing_is_left_of_another_document() -> None:
    segments = torch.arange(2 * CHUNK)[None] // 40  # ends at 40, 80, 120
    decay, enters, leaves, stays = decays(torch.zeros(1, 1, 2, CHUNK), segments)
    assert decay[0, 0, 0, 39, 0] == 1 and decay[0, 0, 0, 40, 39] == 0
    assert enters[0, 0, :, [0, 15, 16]].tolist() == [
        [0, 0, 0],
        [1, 1, 0],
    ]  # nothing is before the first chunk
    assert leaves[0, 0, 0, [39, 40]].tolist() == [0, 1]
    assert stays[0, 0].tolist() == [0, 0]
