"""Gemma 3n: layers that read the cache of others."""

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.read_architecture import read_architecture

CONFIG = {
    **{"model_type": "gemma3n_text", "vocab_size": 10, "hidden_size": 6, "intermediate_size": 7},
    **{"num_hidden_layers": 10, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4},
    **{"vocab_size_per_layer_input": 9, "hidden_size_per_layer_input": 3, "sliding_window": 16},
}


def test_the_last_layers_keep_nothing_and_have_no_key_matrices() -> None:
    found = read_architecture({**CONFIG, "num_kv_shared_layers": 5})
    assert [cache.kind for cache in found.caches] == ["sliding"] * 4 + ["full"] + ["shared"] * 5
    assert [cache.window for cache in found.caches[5:]] == [16] * 4 + [0]  # how far back they read
    assert {tensor.layer for tensor in found.tensors if tensor.module == "k_proj"} == set(range(5))
    assert {tensor.layer for tensor in found.tensors if tensor.module == "q_proj"} == set(range(10))


@pytest.mark.parametrize("shared", [6, 10, 11])  # no full layer is left; no layer at all
def test_a_shared_layer_needs_one_of_its_kind_to_read(shared: int) -> None:
    with pytest.raises(ConfigError, match="num_kv_shared_layers"):
        read_architecture({**CONFIG, "num_kv_shared_layers": shared})


def test_inside_a_larger_model_its_tensors_have_the_longer_name() -> None:
    outer = {"model_type": "gemma3n", "text_config": {**CONFIG, "num_kv_shared_layers": 5}}
    names = [tensor.name for tensor in read_architecture(outer).tensors]
    assert "model.language_model.layers.0.self_attn.q_proj.weight" in names
