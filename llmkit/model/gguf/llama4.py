"""What llama.cpp has built in for Llama 4, which its files do not say. No torch.

Source: ggml-org/llama.cpp, src/models/llama4.cpp.
"""

from typing import Any

from llmkit.model.gguf.keys import GgufKeys

_CHUNK = _GROWTH_POSITIONS = 8192
_GROWTH = 0.1
_PERIOD = 4
"""Of layers: all but the last of as many rotate."""
_EXPERTS_WITHOUT_NORM = 128
"""By which it tells Maverick, whose queries and keys go through no norm."""


def llama4_attention(keys: GgufKeys, layers: int) -> dict[str, Any]:
    """How far layers see, which rotate, how much queries grow, and whether they go through a norm.

    A window of any size is one of 8192 tokens; 0 means that nothing is chunked, that only the last layer does
    not rotate, and that nothing grows.

    Args:
        keys: of the file.
        layers: of the model.

    Returns:
        Fields of ModelConfig.

    Raises:
        ConfigError: a key is wrong.
    """
    normed = keys.whole("expert_count") != _EXPERTS_WITHOUT_NORM
    found: dict[str, Any] = {"qk_norm": "unweighted" if normed else "none"}
    if not keys.whole("attention.sliding_window", _CHUNK):
        return {**found, "no_rope_layers": (layers - 1,)}
    period = keys.whole("attention.sliding_window_pattern", _PERIOD)
    chunked = tuple(layer for layer in range(layers) if not period or layer % period < period - 1)
    return {
        **found,
        "no_rope_layers": tuple(range(_PERIOD - 1, layers, _PERIOD)),
        "sliding_layers": chunked,
        "sliding_window": _CHUNK if chunked else None,
        "query_growth": _GROWTH,
        "query_growth_positions": _GROWTH_POSITIONS,
    }
