"""Sizes that differ by layer, against those that the class in transformers gives its modules."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import HeadSizes
from llmkit.model.layer_sizes import (
    check_alone,
    head_sizes,
    kv_owner,
    kv_owners,
    mlp_width,
    reads_beside,
    side_by_side,
    values_are_keys,
)

SIZES: dict[str, Any] = {
    **{"model_type": "gemma4_text", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24},
    **{"num_hidden_layers": 12, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 8},
    **{"global_head_dim": 16, "hidden_size_per_layer_input": 0},
}


def test_the_last_layers_read_the_last_of_their_kind_before_them() -> None:
    shared = {"num_kv_shared_layers": 6, "use_double_wide_mlp": True}
    config = ModelConfig.from_hf({**SIZES, **shared})  # layers 5 and 11 see everything
    owners = [kv_owner(config, layer) for layer in range(12)]
    assert owners == [0, 1, 2, 3, 4, 5, 4, 4, 4, 4, 4, 5] and kv_owners(config) == (4, 5)
    assert [mlp_width(config, layer) for layer in range(12)] == [24] * 6 + [48] * 6
    assert config.attention_layers == tuple(range(6))


def test_full_layers_have_heads_of_their_own_and_maybe_one_matrix() -> None:
    one_matrix = {"attention_k_eq_v": True, "num_global_key_value_heads": 1}
    config = ModelConfig.from_hf({**SIZES, **one_matrix})
    assert (head_sizes(config, 4), head_sizes(config, 5)) == (HeadSizes(4, 8), HeadSizes(1, 16))
    assert (side_by_side(config, 4), side_by_side(config, 5)) == (1, 2)  # 32 numbers, and 16
    assert (values_are_keys(config, 4), values_are_keys(config, 5)) == (False, True)
    assert kv_owners(config) == ()


def test_layers_that_read_more_than_the_stream_are_not_computed_one_by_one() -> None:
    plain = ModelConfig.from_hf(SIZES)
    check_alone(plain)
    assert reads_beside(plain) is None
    for changes, what in (
        ({"hidden_size_per_layer_input": 4}, "embeddings of their own"),
        ({"num_kv_shared_layers": 6}, "keys and values of earlier layers"),
    ):
        with pytest.raises(ConfigError, match=f"its layers read {what}"):
            check_alone(ModelConfig.from_hf({**SIZES, **changes}))
