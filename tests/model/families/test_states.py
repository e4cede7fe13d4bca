"""Layers of the delta rule and of convolutions in config.json."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.model.families.states import AdjustedWidth, ConvLayers, DeltaLayers
from llmkit.model.keys import Keys

MakeKeys = Callable[..., Keys]


def test_layers_of_the_delta_rule_are_read_as_they_are_written(keys: MakeKeys) -> None:
    part = DeltaLayers(inputs_by_head=True)
    given = {"full_attention_interval": 2, "linear_num_key_heads": 4, "linear_conv_kernel_dim": 3}
    found = part.read(keys(**given), {"num_hidden_layers": 4})
    assert found["attention_gate"] and found["delta"].layers == (0, 2)
    written = part.write({**found, "num_hidden_layers": 4, "model_type": "qwen3_next"})
    assert written["layer_types"] == ["linear_attention", "full_attention"] * 2
    assert part.read(keys(**written), {"num_hidden_layers": 4}) == found


def test_convolutions_are_read_as_they_are_written_and_ties_by_either_name(keys: MakeKeys) -> None:
    found_before = {"num_hidden_layers": 3, "tie_word_embeddings": True}
    found = ConvLayers().read(keys(full_attn_idxs=[1], tie_embedding=False), found_before)
    assert found["short_conv"].layers == (0, 2) and found["tie_word_embeddings"] is False
    written = ConvLayers().write({**found, "num_hidden_layers": 3, "model_type": "lfm2"})
    assert written["layer_types"] == ["conv", "full_attention", "conv"]
    again = ConvLayers().read(keys(**written), found_before)
    assert again["short_conv"] == found["short_conv"]


@pytest.mark.parametrize(
    ("given", "width"),
    [
        ({"block_ff_dim": 12288}, 8192),
        ({"intermediate_size": 12288, "block_ffn_dim_multiplier": 1.5}, 12288),
        ({"block_ff_dim": 6656, "block_multiple_of": 100}, 4500),  # 4437 in whole hundreds
        ({"block_ff_dim": 6656, "block_ffn_dim_multiplier": None}, 4437),
        ({"block_ff_dim": 6656, "block_auto_adjust_ff_dim": False}, 6656),
    ],
)
def test_lfm2s_mlp_is_as_wide_as_its_class_makes_it(
    given: dict[str, Any], width: int, keys: MakeKeys
) -> None:
    assert AdjustedWidth().read(keys(**given), {}) == {"intermediate_size": width}
    written = AdjustedWidth().write({"intermediate_size": width})
    assert AdjustedWidth().read(keys(**written), {}) == {"intermediate_size": width}
