"""The names and shapes told from a config are those of the network itself."""

from dataclasses import replace

import pytest

from llmkit.model.config import ModelConfig
from llmkit.model.presets import PRESETS
from llmkit.model.shapes import stored_weights, tensor_shapes


def _of_the_network(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    import torch

    from llmkit.model.transformer import Transformer

    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in Transformer(config).state_dict().items()}


@pytest.mark.parametrize("name", PRESETS)
def test_shapes_of_every_preset_are_the_networks(name: str) -> None:
    config = replace(PRESETS[name], num_hidden_layers=2)
    assert tensor_shapes(config) == _of_the_network(config)


def test_shapes_follow_biases_query_norms_and_an_untied_head() -> None:
    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    for config in (
        ModelConfig(**sizes, **heads, attention_bias=True, output_bias=True, mlp_bias=True),
        ModelConfig(**sizes, **heads, model_type="qwen2", attention_bias=True, tie_word_embeddings=True),
        ModelConfig(**sizes, **heads, model_type="qwen3", qk_norm=True, head_dim=8),
    ):
        assert tensor_shapes(config) == _of_the_network(config)


def test_names_without_their_prefix_and_tables_of_old_releases_are_understood() -> None:
    stored = dict.fromkeys(("wte.weight", "h.0.attn.bias", "h.0.attn.c_attn.bias", "lm_head.weight"), 1)
    assert list(stored_weights(stored, PRESETS["gpt2"])) == [
        *("transformer.wte.weight", "transformer.h.0.attn.c_attn.bias", "lm_head.weight")
    ]
    old = dict.fromkeys(("model.norm.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"), 1)
    assert list(stored_weights(old, PRESETS["tiny"])) == ["model.norm.weight"]
