"""What one tensor-parallel device has of a tensor, worked out by hand."""

from fractions import Fraction

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.rank_share import rank_share, rank_weight_bytes, require_split
from llmkit.estimate.stored import NumbersAlone
from llmkit.estimate.weight_bytes import weight_bytes
from llmkit.model.config import ModelConfig


def test_keys_and_values_are_copied_where_devices_are_more_than_heads(llama_3_8b: Architecture) -> None:
    weights = weight_bytes(llama_3_8b, NumbersAlone("bfloat16"))
    norms, keys_and_values = 2 * 65 * 4096, 2 * 32 * 2 * 1024 * 4096
    rest = 16_060_522_496 - norms - keys_and_values
    assert rank_weight_bytes(llama_3_8b, weights, 1) == 16_060_522_496
    assert rank_weight_bytes(llama_3_8b, weights, 8) == norms + (rest + keys_and_values) // 8
    assert rank_weight_bytes(llama_3_8b, weights, 16) == norms + rest // 16 + keys_and_values // 8


def test_norms_are_whole_and_matrices_are_cut(llama_3_8b: Architecture) -> None:
    shares = {tensor.module: rank_share(llama_3_8b, tensor, 32) for tensor in llama_3_8b.tensors}
    assert (shares["norm"], shares["q_proj"], shares["k_proj"]) == (1, Fraction(1, 32), Fraction(1, 8))


def test_a_table_of_positions_that_is_not_learnt_is_whole_on_each_device() -> None:
    shape = {
        "model_type": "gpt2",
        "n_embd": 64,
        "n_head": 4,
        "n_layer": 2,
        "vocab_size": 100,
        "n_positions": 32,
    }
    fixed, learnt = (
        architecture_of(ModelConfig.from_hf({**shape, "position_embedding_type": kind}))
        for kind in ("sinusoidal", "learned")
    )
    halves = [
        rank_weight_bytes(one, weight_bytes(one, NumbersAlone("float32")), 2) for one in (fixed, learnt)
    ]
    assert halves[0] == halves[1] and fixed.parameters == learnt.parameters - 32 * 64


def test_unequal_parts_name_the_flag() -> None:
    require_split("num_attention_heads", 32, 8, flag="--tensor-parallel")
    with pytest.raises(ConfigError, match=r"num_attention_heads \(28\)") as caught:
        require_split("num_attention_heads", 28, 8, flag="--tensor-parallel")
    assert caught.value.hint == "change --tensor-parallel"
