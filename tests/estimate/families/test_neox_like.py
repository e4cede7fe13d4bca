"""Pythia and Falcon: published parameters, and Falcon's two layouts."""

from typing import Any

import pytest

from llmkit.estimate.architecture import Architecture
from llmkit.estimate.families.neox_like import read_falcon, read_gpt_neox
from llmkit.model.keys import Keys

PYTHIA_70M = {
    **{"vocab_size": 50_304, "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 6},
    "num_attention_heads": 8,
}
FALCON = {"vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 4}


def neox(prefix: str = "", **change: Any) -> Architecture:
    return read_gpt_neox(Keys({**PYTHIA_70M, **change}, "config.json"), prefix)


def falcon(**change: Any) -> Architecture:
    return read_falcon(Keys({**FALCON, **change}, "config.json"), "")


def layer(found: Architecture) -> dict[str, tuple[int, ...]]:
    start = "transformer.h.1."
    return {t.name.removeprefix(start): t.shape for t in found.tensors if t.name.startswith(start)}


def test_pythia_70m_has_the_parameters_of_its_paper() -> None:
    found = neox()  # arXiv:2304.01373, table 1
    assert found.parameters == 70_426_624
    assert found.parameters - found.by_part["embeddings"] - found.by_part["head"] == 18_915_328


def test_a_neox_without_attention_bias_keeps_those_of_its_mlp() -> None:
    assert neox().parameters - neox(attention_bias=False).parameters == 6 * (3 * 512 + 512)
    biases = {t.name for t in neox(attention_bias=False).tensors if t.module == "bias"}
    assert biases == {
        f"gpt_neox.layers.{number}.mlp.dense_{way}.bias"
        for number in range(6)
        for way in ("h_to_4h", "4h_to_h")
    }


def test_the_head_of_a_neox_file_is_embed_out() -> None:
    assert neox("inner.").tensors[-1].name == "inner.embed_out.weight"
    assert "head" not in neox(tie_word_embeddings=True).by_part


def test_falcon_7b_has_one_kv_head_and_one_norm_a_layer() -> None:
    assert layer(falcon()) == {
        **{"input_layernorm.weight": (8,), "input_layernorm.bias": (8,)},
        "self_attention.query_key_value.weight": ((4 + 2) * 2, 8),
        "self_attention.dense.weight": (8, 8),
        "mlp.dense_h_to_4h.weight": (32, 8),
        "mlp.dense_4h_to_h.weight": (8, 32),
    }
    assert falcon().num_key_value_heads == 1
    assert "head" not in falcon().by_part


@pytest.mark.parametrize(
    ("change", "kv_heads", "norms"),
    [
        ({}, 1, {"input_layernorm"}),
        ({"num_kv_heads": 2}, 1, {"input_layernorm"}),  # the old layout does not read it
        ({"multi_query": False}, 4, {"input_layernorm"}),
        ({"multi_query": False, "num_kv_heads": 2}, 4, {"input_layernorm"}),  # its matrix is 3 * hidden_size
        ({"multi_query": False, "parallel_attn": False}, 4, {"input_layernorm", "post_attention_layernorm"}),
        ({"new_decoder_architecture": True, "num_kv_heads": 2}, 2, {"ln_attn", "ln_mlp"}),  # 40B
        ({"new_decoder_architecture": True}, 4, {"ln_attn", "ln_mlp"}),
        (
            {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
            *(2, {"input_layernorm"}),  # Falcon 2, 11B
        ),
    ],
)
def test_the_layout_of_falcon_decides_its_kv_heads_and_norms(
    change: dict[str, Any], kv_heads: int, norms: set[str]
) -> None:
    found = falcon(**change)
    assert [cache.kv_heads for cache in found.caches] == [kv_heads] * 2
    assert layer(found)["self_attention.query_key_value.weight"] == ((4 + 2 * kv_heads) * 2, 8)
    assert {name.split(".")[0] for name in layer(found)} - {"self_attention", "mlp"} == norms


def test_a_falcon_may_have_biases_and_a_width_of_its_own() -> None:
    found = layer(falcon(bias=True, ffn_hidden_size=20))
    assert found["self_attention.query_key_value.bias"] == (12,)
    assert found["mlp.dense_h_to_4h.bias"] == (20,)
    assert falcon(ffn_hidden_size=20).mlp_width == 20
