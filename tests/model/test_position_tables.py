"""Tables of positions: the sinusoids of the paper, and where a table ends."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from llmkit.errors import UsageError
from llmkit.model.config import ModelConfig
from llmkit.model.position_tables import check_room, sinusoids


@pytest.mark.parametrize("width", [6, 7])
def test_the_table_is_the_papers_formula(width: int) -> None:
    table = sinusoids(50, width)
    for place in (0, 1, 17, 49):
        for pair in range(width // 2):
            angle = place / 10_000 ** (2 * pair / width)
            assert table[place, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-7)
            assert table[place, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-7)
    assert table.shape == (50, width) and table.dtype == np.float32


def test_a_table_has_room_for_its_last_position_and_no_more(make_config: Callable[..., ModelConfig]) -> None:
    config = make_config("gpt2", max_position_embeddings=10)
    check_room(config, 10)
    with pytest.raises(UsageError, match="11 positions asked of a model that has 10"):
        check_room(config, 11)


def test_positions_that_rotate_have_no_end(make_config: Callable[..., ModelConfig]) -> None:
    check_room(make_config("llama", max_position_embeddings=10), 11)
