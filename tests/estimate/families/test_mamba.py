"""Mamba and Mamba-2 of hidden size 8: tensors and states, worked by hand."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture
from llmkit.estimate.families.mamba import read_mamba, read_mamba2
from llmkit.model.keys import Keys

SIZES = {"vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 2, "state_size": 3, "conv_kernel": 4}
HEADS = {"num_heads": 4, "head_dim": 4, "n_groups": 2}


def mamba(**change: Any) -> Architecture:
    return read_mamba(Keys({**SIZES, **change}, "config.json"), "")


def mamba2(**change: Any) -> Architecture:
    return read_mamba2(Keys({**SIZES, **HEADS, **change}, "config.json"), "")


def first_layer(found: Architecture) -> dict[str, tuple[int, ...]]:
    start = "backbone.layers.0."
    return {t.name.removeprefix(start): t.shape for t in found.tensors if t.name.startswith(start)}


def test_a_layer_of_mamba_is_twice_as_wide_as_the_model() -> None:
    assert first_layer(mamba()) == {
        "norm.weight": (8,),
        "mixer.A_log": (16, 3),
        "mixer.D": (16,),
        "mixer.conv1d.weight": (16, 1, 4),
        "mixer.conv1d.bias": (16,),
        "mixer.in_proj.weight": (32, 8),
        "mixer.x_proj.weight": (1 + 2 * 3, 16),  # the rank of a time step is 8 / 16, rounded up
        "mixer.dt_proj.weight": (16, 1),
        "mixer.dt_proj.bias": (16,),
        "mixer.out_proj.weight": (8, 16),
    }


@pytest.mark.parametrize(("hidden", "rank"), [(8, 1), (16, 1), (17, 2), (768, 48)])
def test_the_rank_of_a_time_step_is_a_sixteenth_rounded_up(hidden: int, rank: int) -> None:
    assert first_layer(mamba(hidden_size=hidden))["mixer.dt_proj.weight"] == (2 * hidden, rank)
    stated = mamba(hidden_size=hidden, time_step_rank=5)
    assert first_layer(stated)["mixer.dt_proj.weight"] == (2 * hidden, 5)


def test_a_layer_of_mamba_2_convolves_its_inputs_with_the_groups_of_b_and_c() -> None:
    convolved = 16 + 2 * 2 * 3
    assert first_layer(mamba2()) == {
        "norm.weight": (8,),
        **{f"mixer.{name}": (4,) for name in ("dt_bias", "A_log", "D")},
        "mixer.conv1d.weight": (convolved, 1, 4),
        "mixer.conv1d.bias": (convolved,),
        "mixer.in_proj.weight": (16 + convolved + 4, 8),
        "mixer.norm.weight": (16,),
        "mixer.out_proj.weight": (8, 16),
    }


@pytest.mark.parametrize(
    ("found", "recurrent", "conv"),
    [(mamba(), 16 * 3, 16 * 3), (mamba2(), 4 * 4 * 3, 28 * 3), (mamba(expand=3, conv_kernel=3), 72, 48)],
)
def test_a_layer_keeps_a_state_and_the_last_inputs_of_its_convolution(
    found: Architecture, recurrent: int, conv: int
) -> None:
    assert [(cache.kind, cache.recurrent, cache.conv) for cache in found.caches] == [
        ("state", recurrent, conv)
    ] * 2
    assert found.max_position_embeddings is None


def test_only_the_first_ties_its_head_by_default() -> None:
    assert "head" not in mamba().by_part
    assert mamba(tie_word_embeddings=False).by_part["head"] == 400
    assert mamba2().by_part["head"] == 400


def test_heads_that_do_not_fill_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_heads"):
        mamba2(num_heads=3)
