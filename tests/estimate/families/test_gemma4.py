"""Gemma 4: layers with heads of their own size, and layers that read the cache of others."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture
from llmkit.estimate.read_architecture import read_architecture
from llmkit.estimate.step_bytes import weight_bytes_read

CONFIG: dict[str, Any] = {
    **{"model_type": "gemma4_text", "vocab_size": 10, "hidden_size": 6, "intermediate_size": 7},
    **{"num_hidden_layers": 12, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4},
    **{"global_head_dim": 8, "sliding_window": 16, "hidden_size_per_layer_input": 0},
}


def read(**changes: Any) -> Architecture:
    return read_architecture({**CONFIG, **changes})


def shapes(found: Architecture, layer: int, module: str) -> list[tuple[int, ...]]:
    return [one.shape for one in found.tensors if (one.layer, one.module) == (layer, module)]


def test_each_sixth_layer_sees_all_with_longer_heads() -> None:
    found = read()
    assert [cache.kind[0] for cache in found.caches] == [*"sssssfsssssf"]
    assert {(cache.kind, cache.key_dim, cache.kv_heads) for cache in found.caches} == {
        *(("sliding", 4, 2), ("full", 8, 2))
    }
    assert shapes(found, 4, "q_proj") == [(16, 6)] and shapes(found, 5, "q_proj") == [(32, 6)]


def test_the_last_layer_sees_all_whatever_the_file_says() -> None:
    kinds = ["full_attention", *["sliding_attention"] * 11]
    assert [cache.kind[0] for cache in read(layer_types=kinds).caches] == [*"fssssssssssf"]


def test_where_keys_are_values_there_is_one_matrix_and_two_tensors_are_kept() -> None:
    found = read(attention_k_eq_v=True, num_global_key_value_heads=1)
    assert shapes(found, 5, "k_proj") == [(8, 6)] and shapes(found, 5, "v_proj") == []
    assert shapes(found, 4, "v_proj") == [(8, 6)]
    full = found.caches[5]
    assert (full.kv_heads, full.key_dim, full.value_dim) == (1, 8, 8)
    assert read(num_global_key_value_heads=1).caches[5].kv_heads == 2  # read with attention_k_eq_v alone


def test_what_transformers_writes_layer_by_layer_is_the_same() -> None:
    written = {"05": {"head_dim": 8}, "11": {"head_dim": 8}}
    assert read(per_layer_config=written, global_head_dim=None) == read()
    uneven = {"5": {"num_key_value_heads": 3}}
    with pytest.raises(ConfigError, match="per_layer_config 5: num_key_value_heads is not a divisor"):
        read(per_layer_config=uneven)
    for wrong in ({"last": {}}, {"5": 8}):
        with pytest.raises(ConfigError, match="per_layer_config is not an object of objects"):
            read(per_layer_config=wrong)


def test_the_last_layers_keep_nothing_and_may_have_wider_mlps() -> None:
    found = read(num_kv_shared_layers=6, use_double_wide_mlp=True)
    assert [cache.kind for cache in found.caches[5:]] == ["full", *["shared"] * 6]
    assert {one.layer for one in found.tensors if one.module == "k_proj"} == set(range(6))
    assert shapes(found, 5, "up_proj") == [(7, 6)] and shapes(found, 6, "up_proj") == [(14, 6)]
    assert found.mlp_width == 14


@pytest.mark.parametrize("shared", [7, 12, 13])  # no full layer is left; no layer at all
def test_a_shared_layer_needs_one_of_its_kind_to_read(shared: int) -> None:
    with pytest.raises(ConfigError, match="num_kv_shared_layers"):
        read(num_kv_shared_layers=shared)


def test_a_layer_may_have_an_embedding_of_its_own() -> None:
    own = read(hidden_size_per_layer_input=3, vocab_size_per_layer_input=9)
    named = {one.name: one.shape for one in own.tensors}
    assert named["model.embed_tokens_per_layer.weight"] == (9, 36)
    assert named["model.layers.0.per_layer_input_gate.weight"] == (3, 6)
    assert not any("per_layer" in one.name for one in read().tensors)


def test_a_step_reads_a_row_of_the_embeddings_of_each_layer_and_all_of_a_tied_head() -> None:
    own = read(hidden_size_per_layer_input=3, vocab_size_per_layer_input=9, tie_word_embeddings=True)
    others, scalars = 8 * 36, 12  # rows of other tokens; of layers, which are no parameters
    assert own.tied_head
    assert weight_bytes_read(own, batch=1, bytes_per_value=1) == own.parameters - others + 6 + scalars


def test_experts_stand_beside_the_mlp_of_every_layer() -> None:
    found = read(enable_moe_block=True, num_experts=8, top_k_experts=2, moe_intermediate_size=5)
    assert found.by_part["experts"] == 12 * 8 * 3 * 5 * 6 and found.by_part["mlp"] == 12 * 3 * 7 * 6
    assert found.parameters - found.active_parameters == 12 * 6 * 3 * 5 * 6
    with pytest.raises(ConfigError, match="top_k_experts"):
        read(enable_moe_block=True, num_experts=2, top_k_experts=3, moe_intermediate_size=5)


def test_pictures_may_look_ahead_and_texts_may_not() -> None:
    assert read(use_bidirectional_attention="vision") == read()
    with pytest.raises(ConfigError, match="use_bidirectional_attention"):
        read(use_bidirectional_attention="all")


def test_inside_a_larger_model_its_tensors_have_the_longer_name() -> None:
    outer = {"model_type": "gemma4", "text_config": CONFIG, "vision_config": {"hidden_size": 9}}
    names = [tensor.name for tensor in read_architecture(outer).tensors]
    assert "model.language_model.layers.0.self_attn.q_proj.weight" in names
