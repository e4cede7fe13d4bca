"""What a GGUF file's tensors tell of its model, where no key does. No torch."""

from collections.abc import Iterable
from typing import Any

from llmkit.formats.gguf.header import GgufTensorInfo

EMBEDDING, HEAD = "token_embd.weight", "output.weight"
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def shown(tensors: Iterable[str], own_tied: object) -> dict[str, Any]:
    """Fields of ModelConfig.

    Args:
        tensors: the names of all. Layers differ in what they are, so that a bias in any of them counts.
        own_tied: our own key for what they do not tell: whether the head is the embedding once more.
    """
    names = frozenset(tensors)
    kinds = {name.split(".", 2)[2] for name in names if name.startswith("blk.")}
    return {
        "tie_word_embeddings": HEAD not in names or own_tied is True,
        "head_bias": "output.bias" in names,
        "attention_bias": not kinds.isdisjoint(("attn_q.bias", "attn_qkv.bias")),
        "output_bias": "attn_output.bias" in kinds,
        "mlp_bias": "ffn_down.bias" in kinds,
        "attention_sinks": "attn_sinks.weight" in kinds,
    }


def stored_dtype(tensors: Iterable[GgufTensorInfo]) -> str:
    """What most weights are kept in; float32 where they are quantised, which loses nothing."""
    counts: dict[str, int] = {}
    for tensor in tensors:
        counts[tensor.type] = counts.get(tensor.type, 0) + tensor.numel
    return _DTYPES.get(max(counts, key=lambda kind: counts[kind]), "float32")
