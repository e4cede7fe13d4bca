"""A model of llmkit's own as estimates see it. The one way from a ModelConfig to any number about it."""

from llmkit.estimate.architecture import Architecture
from llmkit.estimate.read_architecture import read_architecture
from llmkit.model.config import ModelConfig


def architecture_of(config: ModelConfig) -> Architecture:
    """The tensors and caches of a model, as the config.json that it is saved with tells them."""
    return read_architecture(config.to_hf())
