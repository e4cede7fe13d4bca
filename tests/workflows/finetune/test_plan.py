"""Weights in bytes; the whole plan is shown by the command's tests and by those of the job."""

from typing import Any

from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from llmkit.workflows.finetune.plan import _weight_bytes

SIZES: dict[str, Any] = {
    **{"vocab_size": 100, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "max_position_embeddings": 16},
}


def test_only_the_matrices_of_layers_are_held_in_fewer_bits() -> None:
    model = ModelConfig(**SIZES)
    parameters = sum(one.numel() for one in Transformer(model).parameters())
    matrices = 2 * (4 * 64 * 64 + 3 * 64 * 128)
    assert _weight_bytes(model, 32) == 4 * parameters
    assert _weight_bytes(model, 4) == 4 * (parameters - matrices) + matrices // 2
