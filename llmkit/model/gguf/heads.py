"""Heads that not all layers have, or that share one latent, in GGUF files. No torch."""

from typing import Any

from llmkit.model.config_parts import LatentConfig
from llmkit.model.config_states import ShortConvConfig
from llmkit.model.gguf.keys import GgufKeys


def convolved_heads(keys: GgufKeys, heads: int, layers: int) -> dict[str, Any]:
    """LFM2's layers: those without key/value heads are convolutions.

    Args:
        keys: of the file.
        heads: of queries.
        layers: of the model.

    Returns:
        Fields of ModelConfig.

    Raises:
        ConfigError: layers have different numbers, or a key is missing.
    """
    shared, without = key_heads(keys, heads, layers)
    short = ShortConvConfig(layers=without, kernel=keys.whole("shortconv.l_cache"))
    return {"num_key_value_heads": shared, "short_conv": short}


def key_heads(keys: GgufKeys, heads: int, layers: int) -> tuple[int, tuple[int, ...]]:
    """Key/value heads of the layers that have any, and the layers that have none.

    Args:
        keys: of the file.
        heads: of queries, which is the number where there is no key.
        layers: of the model.

    Raises:
        ConfigError: layers have different numbers.
    """
    shared = keys.listed("attention.head_count_kv", layers)
    each = shared if isinstance(shared, list) else [heads if shared is None else shared] * layers
    counts = {one for one in each if one}
    if len(counts) != 1:
        keys.wrong("attention.head_count_kv", "0 or one other number in each layer")
    return counts.pop(), tuple(layer for layer, one in enumerate(each) if not one)


def latent_heads(keys: GgufKeys, heads: int) -> dict[str, Any]:
    """DeepSeek's; files of before 2025-04 have a whole key's and value's length under the plain keys.

    Args:
        keys: of the file.
        heads: of queries.

    Returns:
        Fields of ModelConfig.

    Raises:
        ConfigError: a key is missing or wrong.
    """
    rope = keys.whole("rope.dimension_count")
    latent = LatentConfig(
        kv_lora_rank=keys.whole("attention.kv_lora_rank"),
        q_lora_rank=keys.whole("attention.q_lora_rank", 0),
        qk_nope_head_dim=keys.whole("attention.key_length_mla", keys.whole("attention.key_length")) - rope,
        qk_rope_head_dim=rope,
        v_head_dim=keys.whole("attention.value_length_mla", keys.whole("attention.value_length")),
    )
    return {
        "latent": latent,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": latent.qk_nope_head_dim + rope,
    }
