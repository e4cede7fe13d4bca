"""A model's shape as it stands, and as a flag stretches it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.model.config import ModelConfig
from llmkit.model.stretched import read_stretched


def test_a_shape_is_as_the_file_says_until_a_longer_context_is_asked_for(
    tiny_model: Callable[..., Path],
) -> None:
    folder = tiny_model(max_position_embeddings=64)
    own, scaling = read_stretched(folder, None)
    assert (own.max_position_embeddings, own.rope_scaling, scaling) == (64, None, None)
    longer, scaling = read_stretched(folder, "yarn:4")
    assert longer.max_position_embeddings == 256
    assert scaling is not None and scaling["factor"] == 4 and longer.rope_scaling == scaling
    assert ModelConfig.from_hf(longer.to_hf()) == longer  # as a run's config.json says it


def test_what_is_no_scaling_is_refused(tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="unknown type 'yarm'"):
        read_stretched(tiny_model(), "yarm:4")
