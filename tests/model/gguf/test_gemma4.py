"""Gemma 4's keys in GGUF files, as llama.cpp's converter writes them."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import FullHeadsConfig
from llmkit.model.gguf.gemma4 import (
    gemma4_heads,
    gemma4_metadata,
    gemma4_name,
    gemma4_others,
    gemma4_rope,
    gemma4_sizes,
    gemma4_tables,
)
from llmkit.model.gguf.keys import GgufKeys

FULL = FullHeadsConfig(head_dim=16, num_key_value_heads=1, rotary_dim=4)
CONFIG: dict[str, Any] = {
    **{"model_type": "gemma4_text", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48},
    **{"num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8},
    **{"global_head_dim": 16, "num_global_key_value_heads": 1, "attention_k_eq_v": True},
    **{"hidden_size_per_layer_input": 0, "num_kv_shared_layers": 2, "use_double_wide_mlp": True},
}


def _keys(**keys: Any) -> GgufKeys:
    return GgufKeys(
        {f"gemma4.{name.replace('__', '.')}": value for name, value in keys.items()}, "gemma4", "a"
    )


def test_a_models_keys_are_the_converters() -> None:
    keys = gemma4_metadata(ModelConfig.from_hf(CONFIG))
    plain = {name.removeprefix("gemma4."): getattr(value, "value", value) for name, value in keys.items()}
    assert plain == {
        **{"feed_forward_length": [48] * 6 + [96] * 2, "embedding_length_per_layer_input": 0},
        **{"attention.head_count_kv": [2, 2, 2, 2, 2, 1, 2, 1], "attention.shared_kv_layers": 2},
        **{"attention.key_length": 16, "attention.value_length": 16, "attention.sliding_window": 512},
        **{"attention.key_length_swa": 8, "attention.value_length_swa": 8},
        "attention.sliding_window_pattern": [True, True, True, True, True, False, True, False],
        **{"rope.dimension_count": 16, "rope.dimension_count_swa": 8, "rope.freq_base_swa": 10_000.0},
        "final_logit_softcapping": 0.0,  # where it is not there llama.cpp takes 30
    }


def test_owners_that_llama_cpp_does_not_read_are_refused() -> None:
    others = {"layer_types": ["full_attention", "sliding_attention"] * 3 + ["sliding_attention"] * 2}
    with pytest.raises(ConfigError, match=r"reads the keys of layer 4 \(found 5\)"):
        gemma4_metadata(ModelConfig.from_hf({**CONFIG, **others}))


def test_pairs_that_stand_still_are_divided_by_a_number_without_bound() -> None:
    tables = gemma4_tables(FULL)
    assert tables == {"rope_freqs.weight": [1.0] * 2 + [1e30] * 6}
    read = gemma4_rope(
        _keys(rope__freq_base=5e5), FullHeadsConfig(**{**vars(FULL), "rotary_dim": 16}), tables
    )
    assert read == {"rope_theta": 5e5, "sliding_rope_theta": 10_000.0, "full_heads": FULL}
    with pytest.raises(ConfigError, match="rope_freqs is not 1"):
        gemma4_rope(_keys(), FULL, {"rope_freqs.weight": [1.0, 2.0] + [1e30] * 6})


def test_widths_are_one_or_doubled_where_keys_are_shared() -> None:
    shared = {"attention__shared_kv_layers": 1}
    assert gemma4_sizes(_keys(feed_forward_length=5), 3)["wide_shared_mlps"] is False
    assert gemma4_sizes(_keys(feed_forward_length=[5, 5, 10], **shared), 3) == {
        **{"intermediate_size": 5, "shared_kv_layers": 1, "wide_shared_mlps": True}
    }
    with pytest.raises(ConfigError, match="feed_forward_length"):
        gemma4_sizes(_keys(feed_forward_length=[5, 5, 10]), 3)


def test_a_full_layer_without_values_takes_keys_for_them() -> None:
    keys = {"attention__sliding_window_pattern": [True, False], "attention__head_count_kv": [2, 1]}
    keys |= {"attention__key_length": 16, "attention__key_length_swa": 8}
    found = gemma4_heads(_keys(**keys), {"blk.0.attn_v.weight"}, 2)
    assert (found["head_dim"], found["num_key_value_heads"]) == (8, 2)
    assert (found["full_heads"].values_are_keys, found["full_heads"].num_key_value_heads) == (True, 1)
    assert not gemma4_heads(_keys(**keys), {"blk.1.attn_v.weight"}, 2)["full_heads"].values_are_keys
    with pytest.raises(ConfigError, match="head_count_kv"):
        gemma4_heads(_keys(**{**keys, "attention__sliding_window_pattern": True}), {}, 2)


def test_the_table_says_how_many_tokens_have_embeddings_of_their_own() -> None:
    found = gemma4_others(_keys(embedding_length_per_layer_input=4), {"per_layer_token_embd.weight": (8, 50)})
    assert (found["own_inputs"].vocab_size, found["own_inputs"].width) == (50, 4)
    assert found["final_logit_softcapping"] == 30.0


def test_tensors_that_others_have_too_are_named_elsewhere() -> None:
    assert gemma4_name("3", "mlp.gate.scale") == "blk.3.ffn_gate_inp.scale"
    assert gemma4_name("3", "mlp.shared_expert.up_proj.weight") == "blk.3.ffn_up.weight"
    assert gemma4_name("3", "layer_scalar") == "blk.3.layer_output_scale.weight"
    assert gemma4_name("3", "self_attn.q_proj.weight") is None
