"""Models of which the caches are what matters."""

from collections.abc import Iterable

from msgspec.structs import replace

from llmkit.estimate.architecture import Architecture, LayerCache

LLAMA_3_8B_LAYER = LayerCache(
    kind="full", kv_heads=8, key_dim=128, value_dim=128, query_heads=32, score_dim=128, mixed_dim=128
)


def model_of(caches: Iterable[LayerCache]) -> Architecture:
    """A model of which only the caches are known."""
    held = tuple(caches)
    return Architecture(
        **{"model_type": "test", "hidden_size": 1, "vocab_size": 1, "num_hidden_layers": len(held)},
        **{"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 1, "mlp_width": 1},
        **{"max_position_embeddings": None, "tied_head": False, "dtype": "bfloat16"},
        tensors=(),
        caches=held,
    )


def with_caches(model: Architecture, *caches: LayerCache) -> Architecture:
    """The model with other caches."""
    return replace(model, caches=caches)
