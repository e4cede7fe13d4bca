"""What one token uses of a mixture of experts."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.read_architecture import read_architecture

QWEN = {
    **{"model_type": "qwen2_moe", "vocab_size": 10, "hidden_size": 6, "intermediate_size": 20},
    **{"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "mlp_only_layers": [0]},
    **{"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 5},
    "shared_expert_intermediate_size": 7,
}


def test_a_token_uses_k_experts_and_the_shared_one() -> None:
    found = read_architecture(QWEN)
    expert, shared, dense = 3 * 6 * 5, 3 * 6 * 7, 3 * 6 * 20  # gate, up, down
    assert found.by_part["experts"] == 4 * expert
    assert found.by_part["mlp"] == dense + shared
    assert found.by_part["router"] == 4 * 6 + 6  # one row an expert, and the shared expert's gate
    assert found.parameters - found.active_parameters == 2 * expert


@pytest.mark.parametrize(
    ("change", "width"),
    [
        ({}, 20),  # the dense layer
        ({"mlp_only_layers": []}, 2 * 5),  # k experts
        ({"mlp_only_layers": [], "shared_expert_intermediate_size": 11}, 11),
        ({"mlp_only_layers": [0, 1], "intermediate_size": 3}, 3),
    ],
)
def test_the_widest_activation_is_that_of_the_layers_there_are(change: dict[str, Any], width: int) -> None:
    assert read_architecture({**QWEN, **change}).mlp_width == width


def test_the_published_name_and_that_of_transformers_5_count_the_same_experts() -> None:
    renamed = {name: value for name, value in QWEN.items() if name != "num_experts"} | {
        "num_local_experts": 4
    }
    assert read_architecture(renamed) == read_architecture(QWEN)


@pytest.mark.parametrize("missing", ["num_experts", "num_experts_per_tok", "moe_intermediate_size"])
def test_experts_of_unknown_number_or_size_are_refused(missing: str) -> None:
    with pytest.raises(ConfigError, match=missing):
        read_architecture({name: value for name, value in QWEN.items() if name != missing})


def test_a_token_cannot_use_more_experts_than_there_are() -> None:
    with pytest.raises(ConfigError, match="num_experts_per_tok"):
        read_architecture({**QWEN, "num_experts_per_tok": 5})
