"""What llama.cpp builds into Llama 4, key by key."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.formats.gguf.header import GgufTensorInfo
from llmkit.model.config import ModelConfig
from llmkit.model.gguf.keys import GgufKeys
from llmkit.model.gguf.llama4 import llama4_attention
from llmkit.model.gguf.metadata import gguf_shape

CONFIG: dict[str, Any] = {
    **{"model_type": "llama4_text", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48},
    **{"num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8},
    **{"num_local_experts": 8, "intermediate_size_mlp": 40, "max_position_embeddings": 64},
}


def _keys(**keys: Any) -> GgufKeys:
    named = {f"llama4.attention.{name}": value for name, value in keys.items() if name != "experts"}
    return GgufKeys({"llama4.expert_count": keys.get("experts", 16), **named}, "llama4", "a.gguf")


def test_a_file_that_says_nothing_has_chunks_of_8192_in_all_but_each_fourth_layer() -> None:
    assert llama4_attention(_keys(), 6) == {
        **{"qk_norm": "unweighted", "no_rope_layers": (3,), "sliding_layers": (0, 1, 2, 4, 5)},
        **{"sliding_window": 8192, "query_growth": 0.1, "query_growth_positions": 8192},
    }


def test_another_window_is_the_same_and_another_period_moves_chunks_alone() -> None:
    found = llama4_attention(_keys(sliding_window=512, sliding_window_pattern=2), 6)
    assert (found["sliding_window"], found["sliding_layers"], found["no_rope_layers"]) == (
        8192,
        (0, 2, 4),
        (3,),
    )
    assert llama4_attention(_keys(sliding_window_pattern=0), 3)["sliding_layers"] == (0, 1, 2)


def test_a_window_of_0_leaves_one_layer_without_rotation_and_nothing_grows() -> None:
    assert llama4_attention(_keys(sliding_window=0, experts=128), 6) == {
        **{"qk_norm": "none", "no_rope_layers": (5,)}
    }


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"attention_chunk_size": 16}, "sliding_window 8192 .found 16"),
        ({"attn_scale": 0.2}, "query_growth 0.1 .found 0.2"),
        ({"use_qk_norm": False}, "qk_norm unweighted .found none"),
        ({"no_rope_layers": [1, 0, 1, 0, 1, 0]}, "no_rope_layers"),
        ({"moe_layers": [0, 3]}, "layers"),
        ({"attention_chunk_size": None}, "no_rope_layers"),
        ({"moe_layers": []}, "no llama4.expert_"),
        ({"attention_bias": True}, "attention_bias"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_not_written(changes: dict[str, Any], problem: str) -> None:
    embedding = GgufTensorInfo("token_embd.weight", (32, 64), "F32", 4 * 32 * 64, 0)
    with pytest.raises(ConfigError, match=problem):
        gguf_shape(ModelConfig.from_hf({**CONFIG, **changes}), [embedding])
