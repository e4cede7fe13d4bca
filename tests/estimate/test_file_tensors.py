"""The names and shapes told from a config are those of the files that the network itself writes."""

from dataclasses import replace
from typing import Any

import pytest

from llmkit.estimate.file_tensors import tensor_shapes
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.presets import PRESETS

SIZES: dict[str, Any] = {
    **{"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2},
}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 6}


def _of_the_network(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    import torch

    from llmkit.model.names import groups
    from llmkit.model.transformer import Transformer

    with torch.device("meta"):
        ours = {name: tuple(tensor.shape) for name, tensor in Transformer(config).state_dict().items()}
    return {
        name: shape
        for group in groups(config, ours)
        for name, shape in zip(group.theirs, group.shapes([ours[one] for one in group.ours]), strict=True)
    }


@pytest.mark.parametrize("name", PRESETS)
def test_shapes_of_every_preset_are_the_networks(name: str) -> None:
    config = PRESETS[name]
    if config.experts is None and not config.sliding_layers:
        config = replace(config, num_hidden_layers=2, no_rope_layers=())
    assert tensor_shapes(config) == _of_the_network(config)


@pytest.mark.parametrize(
    "fields",
    [
        {"attention_bias": True, "output_bias": True, "mlp_bias": True},
        {"model_type": "qwen2", "attention_bias": True, "tie_word_embeddings": True},
        {"model_type": "qwen3", "qk_norm": "head", "head_dim": 8},
        {"model_type": "olmo2", "qk_norm": "projection", "norm_placement": "after"},
        {
            **{"model_type": "dots1", "qk_norm": "head"},
            "experts": ExpertsConfig(
                **{"scoring": "sigmoid", "group_score": "best_two", "selection_bias": True},
                **EXPERTS,
                layers=(1,),
            ),
        },
    ],
)
def test_shapes_follow_biases_norms_an_untied_head_and_a_bias_for_choosing(fields: dict[str, Any]) -> None:
    config = ModelConfig(**SIZES, **fields)
    assert tensor_shapes(config) == _of_the_network(config)
