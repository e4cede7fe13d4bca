"""The shape of a model that is there, stretched to a longer context where that is asked for. No torch."""

from pathlib import Path
from typing import Any

from llmkit.model.config import ModelConfig
from llmkit.model.extend_context import extend_context, original_positions, parse_rope_scaling
from llmkit.model.source import config_source, read_model_config


def read_shape(model: Path) -> ModelConfig:
    """The shape of a model folder or GGUF file.

    Raises:
        ConfigError, MissingError: the model's config is not usable, or not there.
        DataError: as for `read_model_config`.
    """
    return ModelConfig.from_hf(read_model_config(model), config_source(model))


def read_stretched(model: Path, scaling: str | None) -> tuple[ModelConfig, dict[str, Any] | None]:
    """The shape of a model folder or GGUF file, and the scaling that was put into it.

    Args:
        model: folder or file.
        scaling: what `--rope-scaling` says: `yarn:4`, JSON as in config.json, `none`; None: the model's own.

    Raises:
        UsageError: the scaling cannot be read, or the model has no rotary positions.
        ConfigError, MissingError: the model's config is not usable, or not there.
    """
    config = read_shape(model)
    if scaling is None:
        return config, None
    parsed = parse_rope_scaling(scaling, max_positions=original_positions(config))
    content, source = read_model_config(model), config_source(model)
    return ModelConfig.from_hf(extend_context(content, parsed, source), source), parsed
