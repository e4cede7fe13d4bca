"""Positions that are added: the sinusoids of the paper, and a count that starts again with every document."""

import math
from collections.abc import Callable

import pytest
import torch

from llmkit.errors import UsageError
from llmkit.model.config import ModelConfig
from llmkit.model.positions import SinusoidalPositions, check_room, segment_positions, sinusoid_table


@pytest.mark.parametrize("width", [6, 7])
def test_the_table_is_the_papers_formula(width: int) -> None:
    table = sinusoid_table(50, width)
    for place in (0, 1, 17, 49):
        for pair in range(width // 2):
            angle = place / 10_000 ** (2 * pair / width)
            assert table[place, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[place, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)
    assert table.shape == (50, width)


def test_the_table_is_nothing_to_learn_save_or_round(
    make_config: Callable[..., ModelConfig],
) -> None:
    module = SinusoidalPositions(make_config("gpt2", position="sinusoidal")).to(torch.bfloat16)
    assert not list(module.parameters())
    assert not module.state_dict()
    found = module(torch.tensor([[3, 0], [63, 1]]))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[1, 0], sinusoid_table(64, 32)[63], rtol=0, atol=0)


def test_the_count_starts_again_with_every_document() -> None:
    segments = torch.tensor([[4, 4, 4, 7, 7, 0, 0, 0], [1, 2, 3, 3, 3, 3, -1, -1], [0] * 8])
    expected = [[0, 1, 2, 0, 1, 0, 1, 2], [0, 0, 0, 1, 2, 3, 0, 1], list(range(8))]
    assert segment_positions(segments).tolist() == expected
    assert segment_positions(torch.tensor([[9]])).tolist() == [[0]]


def test_a_table_has_room_for_its_last_position_and_no_more(make_config: Callable[..., ModelConfig]) -> None:
    config = make_config("gpt2", max_position_embeddings=10)
    check_room(config, 10)
    with pytest.raises(UsageError, match="11 positions asked of a model that has 10"):
        check_room(config, 11)
