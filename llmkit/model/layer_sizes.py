"""Sizes of a layer that are not the same in all of a model, and what it reads beside the stream. No torch."""

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import HeadSizes


def head_sizes(config: ModelConfig, layer: int) -> HeadSizes:
    """Of a layer that attends."""
    full = config.full_heads
    if full is None or layer in config.sliding_layers:
        return HeadSizes(config.num_key_value_heads, config.head_dim)
    return HeadSizes(full.num_key_value_heads, full.head_dim)


def side_by_side(config: ModelConfig, layer: int) -> int:
    """How many layers like one have their keys in the room that the widest layer's take."""
    widest = max(head_sizes(config, one).width for one in config.attention_layers)
    return widest // head_sizes(config, layer).width


def values_are_keys(config: ModelConfig, layer: int) -> bool:
    """Whether a layer has one matrix for both."""
    full = config.full_heads
    return full is not None and full.values_are_keys and layer not in config.sliding_layers


def kv_owner(config: ModelConfig, layer: int) -> int:
    """The layer whose keys and values a layer reads: itself, or the last of its kind that has its own."""
    if layer < config.num_kv_owners:
        return layer
    slides = layer in config.sliding_layers
    return max(one for one in range(config.num_kv_owners) if (one in config.sliding_layers) == slides)


def kv_owners(config: ModelConfig) -> tuple[int, ...]:
    """The layers whose keys and values others read."""
    readers = range(config.num_kv_owners, config.num_hidden_layers)
    return tuple(sorted({kv_owner(config, layer) for layer in readers}))


def mlp_width(config: ModelConfig, layer: int) -> int:
    """intermediate_size of a layer's own MLP."""
    doubles = config.wide_shared_mlps and kv_owner(config, layer) != layer
    return config.intermediate_size * (2 if doubles else 1)


def reads_beside(config: ModelConfig) -> str | None:
    """What layers read beside what the one before leaves; None where that is nothing."""
    if config.own_inputs is not None:
        return "embeddings of their own"
    return "keys and values of earlier layers" if config.shared_kv_layers else None


def check_alone(config: ModelConfig) -> None:
    """Refuse a model whose layers cannot be computed one by one, from what the layer before has left alone.

    Raises:
        ConfigError: they read more.
    """
    if (beside := reads_beside(config)) is not None:
        raise ConfigError(
            f"{config.model_type} is not computed layer by layer: its layers read {beside}",
            hint="a model whose layers do not (Gemma 4's 31B and 26B-A4B) can be",
        )
