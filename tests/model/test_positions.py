"""Positions that are added: sinusoids that stay exact, and a count that starts again with every document."""

import math
from collections.abc import Callable

import numpy as np
import torch

from llmkit.model.config import ModelConfig
from llmkit.model.layout import Span
from llmkit.model.position_tables import query_scales, sinusoids
from llmkit.model.positions import (
    SinusoidalPositions,
    document_lengths,
    query_scale,
    segment_positions,
    sinusoid_table,
    span_positions,
)


def test_the_table_is_nothing_to_learn_save_or_round(
    make_config: Callable[..., ModelConfig],
) -> None:
    module = SinusoidalPositions(make_config("gpt2", position="sinusoidal")).to(torch.bfloat16)
    assert not list(module.parameters())
    assert not module.state_dict()
    found = module(torch.tensor([[3, 0], [63, 1]]))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[1, 0], torch.from_numpy(sinusoids(64, 32))[63], rtol=0, atol=0)


def test_the_count_starts_again_with_every_document() -> None:
    segments = torch.tensor([[4, 4, 4, 7, 7, 0, 0, 0], [1, 2, 3, 3, 3, 3, -1, -1], [0] * 8])
    expected = [[0, 1, 2, 0, 1, 0, 1, 2], [0, 0, 0, 1, 2, 3, 0, 1], list(range(8))]
    assert segment_positions(segments).tolist() == expected
    assert segment_positions(torch.tensor([[9]])).tolist() == [[0]]


def test_every_token_knows_how_long_its_document_is() -> None:
    segments = torch.tensor([[4, 4, 4, 7, 7, 0, 0, 0], [1, 2, 3, 3, 3, 3, -1, -1], [0] * 8])
    expected = [[3, 3, 3, 2, 2, 3, 3, 3], [1, 1, 4, 4, 4, 4, 2, 2], [8] * 8]
    assert document_lengths(segments).tolist() == expected


def test_tokens_in_pieces_of_a_row_count_as_they_do_in_the_whole() -> None:
    cpu, pieces = torch.device("cpu"), [Span(1, 2, 8), Span(5, 2, 8)]
    assert span_positions(pieces, cpu, None).tolist() == [1, 2, 5, 6]
    segments = torch.tensor([[0, 0, 1, 1, 1, 2, 2, 2], [0] * 8])
    assert span_positions(pieces, cpu, segments).tolist() == [[1, 0, 0, 1], [1, 2, 5, 6]]
    assert torch.equal(span_positions([Span(0, 8)], cpu, segments), segment_positions(segments))


def test_a_model_built_without_memory_has_real_sinusoids() -> None:
    with torch.device("meta"):
        table = sinusoid_table(5, 4)
    assert table[1].tolist() == sinusoids(5, 4)[1].tolist()


def test_queries_grow_by_steps_of_the_positions_of_their_own_document(
    make_config: Callable[..., ModelConfig],
) -> None:
    config = object.__new__(ModelConfig)
    config.__dict__.update(vars(make_config()) | {"query_growth": 0.1, "query_growth_positions": 4})
    steps = [1.0, 1.0, 1 + 0.1 * math.log(2), 1 + 0.1 * math.log(2), 1 + 0.1 * math.log(3)]
    found = query_scale(config, torch.tensor([0, 3, 4, 7, 8]))
    assert found is not None and found.shape == (5, 1)
    torch.testing.assert_close(found[:, 0], torch.tensor(steps))
    rows = query_scale(config, torch.tensor([[0, 4], [8, 0]]))
    assert rows is not None and rows.shape == (2, 1, 2, 1)
    torch.testing.assert_close(rows.flatten(), torch.tensor([1.0, steps[2], steps[4], 1.0]))
    np.testing.assert_allclose(query_scales(config, [0, 3, 4, 7, 8]), steps, rtol=1e-6)
    assert query_scale(make_config(), torch.arange(9)) is None
