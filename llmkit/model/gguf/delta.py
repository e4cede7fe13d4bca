"""Layers of the gated delta rule in GGUF files: their keys, both ways. No torch.

Source: ggml-org/llama.cpp `conversion/qwen.py`, and `src/models` for what is taken where a key is absent.
"""

from typing import Any

from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.model.config_states import DeltaConfig
from llmkit.model.gguf.heads import key_heads
from llmkit.model.gguf.keys import GgufKeys
from llmkit.model.gguf.ssm import StateKeys, read_ssm, ssm_metadata

BY_KEY_HEAD = "qwen3next"
"""The architecture whose models have a key head's rows side by side; Qwen3.5's have not."""
DELTA_ARCHITECTURES = (BY_KEY_HEAD, "qwen35", "qwen35moe")
_PERIOD = "full_attention_interval"
_USUAL_PERIOD = 4
_RECURRENT = "attention.recurrent_layers"


def delta_metadata(
    name: str, delta: DeltaConfig, num_layers: int, rotary_dim: int
) -> dict[str, MetadataValue]:
    """The keys of these layers.

    Args:
        name: of the architecture.
        delta: what they are.
        num_layers: of the model.
        rotary_dim: numbers of a head that are rotated, in layers of attention.
    """
    heads = delta.num_key_heads, delta.num_value_heads
    keys = ssm_metadata(name, StateKeys(delta.kernel, delta.key_head_dim, *heads, delta.value_head_dim))
    period = _period(delta.layers, num_layers)
    if period is None:
        keys[f"{name}.{_RECURRENT}"] = [layer in delta.layers for layer in range(num_layers)]
    else:
        keys[f"{name}.{_PERIOD}"] = Typed("u32", period)
    if name != BY_KEY_HEAD:
        keys[f"{name}.rope.dimension_sections"] = Typed("i32", _sections(rotary_dim // 2))
    return keys


def read_delta(keys: GgufKeys, heads: int, layers: int, ahead: int) -> dict[str, Any]:
    """Fields of ModelConfig of a model with such layers.

    Args:
        keys: of the file.
        heads: of queries, in layers of attention.
        layers: of the model.
        ahead: layers after these that predict further.

    Raises:
        ConfigError: a key is missing or wrong.
    """
    told = read_ssm(keys)
    delta = DeltaConfig(
        layers=_layers(keys, layers, ahead),
        num_key_heads=told.groups,
        num_value_heads=told.heads,
        key_head_dim=told.key_dim,
        value_head_dim=told.head_dim,
        kernel=told.kernel,
        inputs_by_head=keys.architecture == BY_KEY_HEAD,
    )
    shared, _ = key_heads(keys, heads, layers)
    return {"num_key_value_heads": shared, "delta": delta, "attention_gate": True}


def _layers(keys: GgufKeys, layers: int, ahead: int) -> tuple[int, ...]:
    """Which layers keep a state."""
    listed = keys.listed(_RECURRENT, layers + ahead)
    if isinstance(listed, list):
        return tuple(layer for layer in range(layers) if listed[layer])
    period = keys.whole(_PERIOD, _USUAL_PERIOD)
    if not period:
        keys.wrong(_PERIOD, "a number of layers above 0")
    return tuple(layer for layer in range(layers) if (layer + 1) % period)


def _sections(pairs: int) -> list[int]:
    """How many pairs turn by time, height and width, in turns, and by nothing.

    llama.cpp asks for them. The three are one and the same position in a text, so that any will do which
    leave no pair without one.
    """
    return [(pairs + 2) // 3, (pairs + 1) // 3, pairs // 3, 0]


def _period(states: tuple[int, ...], num_layers: int) -> int | None:
    """The last of each so many layers is attention; None where that is not the rule."""
    layers = range(num_layers)
    first = next((layer for layer in layers if layer not in states), num_layers)
    period = first + 1
    return period if states == tuple(layer for layer in layers if (layer + 1) % period) else None
