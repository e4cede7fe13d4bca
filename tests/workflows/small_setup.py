"""A run of a model that is small enough to be worked out by hand."""

from typing import Any

from llmkit.model.config import ModelConfig
from llmkit.train.config import PretrainConfig
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.run.setup import Setup, set_up

MODEL = ModelConfig(
    vocab_size=48,
    hidden_size=8,
    intermediate_size=12,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=32,
)


def setup_of(data: PretrainData, model: ModelConfig = MODEL, **config: Any) -> Setup:
    """Its settings on a CPU, with nothing that the weights come from."""
    return set_up(PretrainConfig(device="cpu", **config), model, data, None)
