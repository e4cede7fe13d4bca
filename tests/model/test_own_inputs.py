"""Embeddings of each layer's own, step by step."""

from math import sqrt

import torch

from llmkit.model.config import ModelConfig
from llmkit.model.own_inputs import OwnInput, OwnInputs


def _config() -> ModelConfig:
    return ModelConfig.from_hf(
        {
            **{"model_type": "gemma4_text", "vocab_size": 9, "hidden_size": 6, "intermediate_size": 8},
            **{"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4},
            **{"global_head_dim": 8, "hidden_size_per_layer_input": 3, "vocab_size_per_layer_input": 9},
        }
    )


def _rms(x: torch.Tensor) -> torch.Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


@torch.no_grad()
def test_each_layer_is_given_half_a_row_and_half_a_product() -> None:
    config = _config()
    assert config.own_inputs is not None
    module, ids, x = OwnInputs(config, config.own_inputs), torch.tensor([[4, 7]]), torch.randn(1, 2, 6)
    module.norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
    made = module(ids, x)
    assert made.shape == (1, 2, 2, 3)
    for at, token in enumerate((4, 7)):
        for layer in range(2):
            rows = slice(3 * layer, 3 * layer + 3)
            product = _rms(module.projection.weight[rows] @ x[0, at] / sqrt(6)) * torch.tensor([1.0, 2, 3])
            by_hand = (product + sqrt(3) * module.embed_tokens.weight[token, rows]) / sqrt(2)
            torch.testing.assert_close(made[0, at, layer], by_hand)


@torch.no_grad()
def test_the_stream_gates_what_a_layer_adds() -> None:
    config = _config()
    assert config.own_inputs is not None
    module, x, own = OwnInput(config, config.own_inputs), torch.randn(1, 2, 6), torch.randn(1, 2, 3)
    gate = torch.nn.functional.gelu(x @ module.gate.weight.T, approximate="tanh")
    torch.testing.assert_close(module(x, own), x + _rms((gate * own) @ module.projection.weight.T))
    assert torch.equal(module(x, torch.zeros_like(own)), x)
