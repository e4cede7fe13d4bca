"""Positions that are added: sinusoids that stay exact; the count of each document; queries that grow."""

import math
from collections.abc import Callable

import numpy as np
import torch

from llmkit.model.config import ModelConfig
from llmkit.model.layout import Span
from llmkit.model.position_tables import query_scales, sinusoids
from llmkit.model.positions import SinusoidalPositions, query_scale, sinusoid_table, span_positions
from llmkit.model.segments import segment_positions


def test_the_table_is_nothing_to_learn_save_or_round(
    make_config: Callable[..., ModelConfig],
) -> None:
    module = SinusoidalPositions(make_config("gpt2", position="sinusoidal")).to(torch.bfloat16)
    assert not list(module.parameters())
    assert not module.state_dict()
    found = module(torch.tensor([[3, 0], [63, 1]]))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[1, 0], torch.from_numpy(sinusoids(64, 32))[63], rtol=0, atol=0)


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
    found = query_scale(config, torch.tensor([0, 3, 4, 7, 8]), rotates=True)
    assert found is not None and found.shape == (5, 1)
    torch.testing.assert_close(found[:, 0], torch.tensor(steps))
    rows = query_scale(config, torch.tensor([[0, 4], [8, 0]]), rotates=True)
    assert rows is not None and rows.shape == (2, 1, 2, 1)
    torch.testing.assert_close(rows.flatten(), torch.tensor([1.0, steps[2], steps[4], 1.0]))
    np.testing.assert_allclose(query_scales(config, [0, 3, 4, 7, 8]), steps, rtol=1e-6)
    assert query_scale(make_config(), torch.arange(9), rotates=True) is None


def test_llama_4_grows_where_nothing_rotates_and_counts_from_one(
    make_config: Callable[..., ModelConfig],
) -> None:
    config = object.__new__(ModelConfig)
    growth = {"query_growth": 0.3, "query_growth_positions": 4, "query_growth_unrotated": True}
    config.__dict__.update(vars(make_config()) | growth)
    positions = [0, 2, 3, 6, 7]
    expected = [1 + 0.3 * math.log1p((p + 1) // 4) for p in positions]
    found = query_scale(config, torch.tensor(positions), rotates=False)
    assert found is not None
    torch.testing.assert_close(found[:, 0], torch.tensor(expected))
    np.testing.assert_allclose(query_scales(config, positions), expected, rtol=1e-6)
    assert query_scale(config, torch.tensor(positions), rotates=True) is None
