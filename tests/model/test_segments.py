"""Documents of a row, counted."""

import torch

from llmkit.model.segments import document_lengths, segment_positions


def test_the_count_starts_again_with_every_document() -> None:
    segments = torch.tensor([[4, 4, 4, 7, 7, 0, 0, 0], [1, 2, 3, 3, 3, 3, -1, -1], [0] * 8])
    expected = [[0, 1, 2, 0, 1, 0, 1, 2], [0, 0, 0, 1, 2, 3, 0, 1], list(range(8))]
    assert segment_positions(segments).tolist() == expected
    assert segment_positions(torch.tensor([[9]])).tolist() == [[0]]


def test_every_token_knows_how_long_its_document_is() -> None:
    segments = torch.tensor([[4, 4, 4, 7, 7, 0, 0, 0], [1, 2, 3, 3, 3, 3, -1, -1], [0] * 8])
    expected = [[3, 3, 3, 2, 2, 3, 3, 3], [1, 1, 4, 4, 4, 4, 2, 2], [8] * 8]
    assert document_lengths(segments).tolist() == expected
