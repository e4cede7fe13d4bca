"""Shapes with some sizes changed: what follows, what stays, and that presets agree."""

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.presets import PRESETS, preset
from llmkit.model.reshape import reshape

MULTI_HEAD = ModelConfig(
    vocab_size=10, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4
)
GROUPED = PRESETS["qwen3-0.6b"]  # heads of 128 that do not share hidden_size, in groups of two


def test_nothing_changed_is_the_same() -> None:
    for config in PRESETS.values():
        assert reshape(config, {}) == config


def test_heads_that_share_the_width_go_on_sharing_it() -> None:
    assert reshape(MULTI_HEAD, {"hidden_size": 128}).head_dim == 32
    changed = reshape(MULTI_HEAD, {"num_attention_heads": 8})
    assert (changed.head_dim, changed.num_key_value_heads) == (8, 8)


def test_what_is_given_is_not_worked_out() -> None:
    changed = reshape(MULTI_HEAD, {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 24})
    assert (changed.head_dim, changed.num_key_value_heads) == (24, 2)


def test_groups_and_heads_of_their_own_width_stay() -> None:
    changed = reshape(GROUPED, {"num_attention_heads": 32, "hidden_size": 2048})
    assert (changed.head_dim, changed.num_key_value_heads) == (128, 8)


@pytest.mark.parametrize(
    "overrides",
    [{"num_hidden_layers": 3}, {"num_attention_heads": 2, "num_key_value_heads": 2}, {"vocab_size": 7}],
)
def test_a_preset_is_changed_alike(overrides: dict[str, int]) -> None:
    for name in ("tiny", "llama-3.2-1b", "llama-2-7b"):
        assert reshape(PRESETS[name], overrides) == preset(name, **overrides)


def test_an_unknown_field_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'hiden_size'") as caught:
        reshape(MULTI_HEAD, {"hiden_size": 3})
    assert caught.value.hint == "did you mean hidden_size?"


def test_an_impossible_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_attention_heads \(4\) is not a multiple"):
        reshape(MULTI_HEAD, {"num_key_value_heads": 3})
