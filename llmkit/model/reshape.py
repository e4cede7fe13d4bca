"""A model's shape with some sizes changed, and what it derives from them."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from llmkit.errors import ConfigError, nearest
from llmkit.model.config import ModelConfig


def reshape(config: ModelConfig, overrides: Mapping[str, Any]) -> ModelConfig:
    """A config with some fields changed.

    head_dim follows hidden_size and num_attention_heads where the heads share hidden_size among them, and
    num_key_value_heads follows num_attention_heads where there are no groups, unless they are given too.

    Args:
        config: the shape to begin with.
        overrides: fields of ModelConfig.

    Raises:
        ConfigError: no such field, or the result is no possible model.
    """
    names = [one.name for one in fields(config)]
    for key in overrides:
        if key not in names:
            guess = nearest(key, names)
            raise ConfigError(
                f"a model has no field {key!r}", hint=f"did you mean {guess}?" if guess else ", ".join(names)
            )
    derived = {}
    if {"hidden_size", "num_attention_heads"} & overrides.keys():
        if config.head_dim * config.num_attention_heads == config.hidden_size:
            derived["head_dim"] = 0  # ModelConfig works it out again
        if config.num_key_value_heads == config.num_attention_heads:
            derived["num_key_value_heads"] = 0
    return replace(config, **{**derived, **overrides})
