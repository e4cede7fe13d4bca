"""LFM2's heads, told of each layer; those of latent attention stand in test_config.py's copies of models."""

import pytest

from llmkit.errors import ConfigError
from llmkit.formats.gguf.header import GgufHeader, GgufTensorInfo
from llmkit.model.config_states import ShortConvConfig
from llmkit.model.gguf.config import gguf_model_config
from llmkit.model.gguf.heads import latent_heads
from llmkit.model.gguf.keys import GgufKeys


def test_lfm2s_layers_without_key_heads_are_convolutions() -> None:
    metadata = {
        **{"general.architecture": "lfm2", "lfm2.block_count": 4, "lfm2.context_length": 64},
        **{"lfm2.embedding_length": 32, "lfm2.feed_forward_length": 48, "lfm2.attention.head_count": 4},
        **{"lfm2.attention.head_count_kv": [0, 2, 0, 2], "lfm2.shortconv.l_cache": 3},
        "lfm2.attention.layer_norm_rms_epsilon": 1e-5,
    }
    embedding = GgufTensorInfo("token_embd.weight", (32, 40), "F32", 5120, 0)
    config = gguf_model_config(GgufHeader(3, metadata, (embedding,), 0), "x.gguf")
    assert config.short_conv == ShortConvConfig(layers=(0, 2), kernel=3)
    assert (config.num_key_value_heads, config.qk_norm, config.tie_word_embeddings) == (2, "head", True)
    for wrong in ([0, 2, 4, 2], [0, 0, 0, 0]):
        changed = {**metadata, "lfm2.attention.head_count_kv": wrong}
        with pytest.raises(ConfigError, match="head_count_kv is not 0 or one other number"):
            gguf_model_config(GgufHeader(3, changed, (embedding,), 0), "x.gguf")


def test_heads_of_latents_have_a_part_with_a_position_and_one_without() -> None:
    metadata = {
        **{"deepseek2.rope.dimension_count": 8, "deepseek2.attention.kv_lora_rank": 24},
        **{"deepseek2.attention.key_length_mla": 20, "deepseek2.attention.value_length_mla": 10},
        **{"deepseek2.attention.key_length": 32, "deepseek2.attention.value_length": 24},
    }
    found = latent_heads(GgufKeys(metadata, "deepseek2", "x.gguf"), 4)
    assert (found["head_dim"], found["num_key_value_heads"]) == (20, 4)
    latent = found["latent"]
    assert (latent.qk_nope_head_dim, latent.qk_rope_head_dim, latent.v_head_dim) == (12, 8, 10)
