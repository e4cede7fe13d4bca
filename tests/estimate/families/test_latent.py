"""Multi-head latent attention: DeepSeek-V3's published sizes, layer 0."""

from typing import Any

import pytest

from llmkit.estimate.families.attention import Attention
from llmkit.estimate.families.latent import latent, latent_sizes
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Defaults
from llmkit.model.keys import Keys

V3 = {
    **{"hidden_size": 7168, "vocab_size": 129_280, "num_hidden_layers": 61, "num_attention_heads": 128},
    **{"num_key_value_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512},
    **{"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128},
}


def read(**change: Any) -> Attention:
    keys = Keys({**V3, **change}, "config.json")
    return latent(keys, latent_sizes(keys, Defaults(max_positions=4096)))


def written(attention: Attention) -> dict[str, tuple[int, ...]]:
    sheet = Sheet()
    attention.write(sheet, 0)
    return {tensor.name.removeprefix("self_attn."): tensor.shape for tensor in sheet.tensors}


def test_a_layer_has_the_shapes_of_deepseek_v3() -> None:
    assert written(read()) == {
        "q_a_proj.weight": (1536, 7168),
        "q_a_layernorm.weight": (1536,),
        "q_b_proj.weight": (24_576, 1536),
        "kv_a_proj_with_mqa.weight": (576, 7168),
        "kv_a_layernorm.weight": (512,),
        "kv_b_proj.weight": (32_768, 512),
        "o_proj.weight": (7168, 16_384),
    }


def test_a_token_is_kept_as_576_numbers_a_layer_whatever_the_heads() -> None:
    for heads in (128, 16):
        caches = read(num_attention_heads=heads, num_key_value_heads=heads).caches
        assert len(caches) == 61
        assert {(cache.kind, cache.latent, cache.query_heads) for cache in caches} == {("latent", 576, heads)}
        assert {(cache.score_dim, cache.mixed_dim, cache.kv_heads) for cache in caches} == {(576, 512, 0)}


def test_without_a_query_rank_queries_have_one_matrix() -> None:
    found = written(read(q_lora_rank=None))  # DeepSeek-V2-Lite
    assert found["q_proj.weight"] == (128 * 192, 7168)
    assert not any(name.startswith("q_a") or name.startswith("q_b") for name in found)


def test_biases_stand_on_the_ways_in_and_out_of_the_latents() -> None:
    biases = {name: shape for name, shape in written(read(attention_bias=True)).items() if "bias" in name}
    assert biases == {"q_a_proj.bias": (1536,), "kv_a_proj_with_mqa.bias": (576,), "o_proj.bias": (7168,)}


@pytest.mark.parametrize("stated", [None, 64, 56])
def test_a_key_has_both_its_parts_whatever_head_dim_the_file_states(stated: int | None) -> None:
    keys = Keys({**V3, "head_dim": stated}, "config.json")
    assert latent_sizes(keys, Defaults(max_positions=4096)).head_dim == 128 + 64
