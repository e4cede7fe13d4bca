"""Layers of state that are impossible are refused by name, and their widths are what modules have."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config_states import DeltaConfig, Mamba2Config, MultipliersConfig, ShortConvConfig

DELTA: dict[str, Any] = {
    **{"layers": (0,), "num_key_heads": 2, "num_value_heads": 6},
    **{"key_head_dim": 4, "value_head_dim": 5, "kernel": 3},
}
MAMBA: dict[str, Any] = {
    "layers": (0,), "num_heads": 6, "head_dim": 4, "num_groups": 2, "state_size": 8, "kernel": 3
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in DELTA if name != "layers"])
def test_a_delta_rule_without_a_size_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is not a whole number of at least 1"):
        DeltaConfig(**DELTA | {name: 0})


@pytest.mark.parametrize("name", [name for name in MAMBA if name != "layers"])
def test_a_state_space_without_a_size_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is not a whole number of at least 1"):
        Mamba2Config(**MAMBA | {name: 0})


def test_heads_that_their_groups_do_not_divide_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"linear_num_value_heads \(5\) is not a multiple"):
        DeltaConfig(**DELTA | {"num_value_heads": 5})
    with pytest.raises(ConfigError, match=r"heads \(5\) are not a multiple of their groups \(2\)"):
        Mamba2Config(**MAMBA | {"num_heads": 5})
    with pytest.raises(ConfigError, match="kernel is not a whole number"):
        ShortConvConfig(layers=(0,), kernel=0)


def test_convolutions_span_what_a_rule_and_a_state_space_read() -> None:
    delta = DeltaConfig(**DELTA)
    assert (delta.key_width, delta.value_width, delta.convolved) == (8, 30, 8 + 8 + 30)
    mamba = Mamba2Config(**MAMBA)
    assert (mamba.width, mamba.convolved) == (24, 24 + 2 * 2 * 8)


def test_multipliers_of_what_is_read_come_together_with_those_of_what_is_made_of_it() -> None:
    told = MultipliersConfig(
        attention_in=3.0, attention_out=0.5, key=2.0, state_in=4.0, state_parts=(1.0, 2.0, 3.0, 0.5, 0.25)
    )
    assert (told.scores, told.attention) == (18.0, 1.5)
    assert told.state_inputs == (4.0, 8.0, 12.0, 2.0, 1.0)
