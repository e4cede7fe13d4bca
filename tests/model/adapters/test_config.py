"""What an adapter is asked to be."""

import math
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.adapters.config import LoraConfig, ends_with


def test_scales_and_ranks_follow_the_first_pattern_that_matches_a_name() -> None:
    config = LoraConfig(r=4, alpha=8, rank_pattern={"q_proj": 16}, alpha_pattern={"c_attn": 2})
    names = ("model.layers.0.self_attn.q_proj", "transformer.h.0.attn.c_attn")
    assert config.rank_of(names) == 16
    assert config.scale_of(names, 16) == 2 / 16
    assert LoraConfig(r=16, alpha=8, use_rslora=True).scale_of(names, 16) == 2


def test_a_target_is_an_end_after_a_dot_or_a_pattern_for_the_whole_name() -> None:
    name = "model.layers.0.self_attn.q_proj"
    assert LoraConfig(targets=("q_proj",)).is_target([name])
    assert LoraConfig(targets=("self_attn.q_proj",)).is_target([name])
    assert not LoraConfig(targets=("proj",)).is_target([name])
    assert LoraConfig(targets=r".*\.[qv]_proj").is_target([name])
    assert not LoraConfig(targets="q_proj").is_target([name])
    assert ends_with("q_proj", ["q_proj"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"r": 0}, "rank r is not at least 1"),
        ({"rank_pattern": {"q": -1}}, "rank q"),
        ({"alpha": 0}, "alpha is not above zero"),
        ({"alpha": math.inf}, "alpha is not finite"),
        ({"dropout": 1.0}, "dropout"),
        ({"layers": 0}, "last 0 layers"),
        ({"targets": ()}, "no targets"),
        ({"targets": "*"}, "no valid pattern"),
        ({"alpha_pattern": {"(": 1}}, "no valid pattern"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LoraConfig(**fields)
