"""What a case of a measurement has to do at the least: floating-point operations, and bytes from memory.

Counted as `estimate/architecture_flops.py` does, summed over the positions that are computed.
"""

from dataclasses import dataclass

from llmkit.estimate.architecture_flops import decode_flops, prefill_flops, train_flops_per_token
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.cache_settings import CacheSettings
from llmkit.estimate.step_bytes import cache_bytes_read
from llmkit.model.config import ModelConfig


@dataclass(frozen=True)
class Work:
    """One run of a case."""

    tokens: int
    flops: int
    bytes_moved: int | None = None
    """Weights and cache that must be read; None where arithmetic, not memory, is what takes time."""


def prefill_work(config: ModelConfig, *, prompt: int, depth: int) -> Work:
    """A prompt after `depth` tokens that the cache holds; only its last position is scored."""
    head = 2 * config.vocab_size * config.hidden_size
    flops = prefill_flops(architecture_of(config), prompt, depth=depth)
    return Work(prompt, flops - (prompt - 1) * head)


def decode_work(
    config: ModelConfig, *, tokens: int, depth: int, weight_bytes: int, dtype: str, batch: int = 1
) -> Work:
    """`tokens` steps of `batch` texts together, each after `depth` tokens that the cache holds.

    Args:
        weight_bytes: that one step reads, for all texts.
        dtype: of the cache. A sliding layer has to read no more than its window.
    """
    architecture, cache = architecture_of(config), CacheSettings(kv_dtype=dtype)
    contexts = range(depth + 1, depth + tokens + 1)
    flops = sum(decode_flops(architecture, context) for context in contexts)
    cache_bytes = sum(cache_bytes_read(architecture, cache, context) for context in contexts)
    return Work(batch * tokens, batch * flops, tokens * weight_bytes + batch * cache_bytes)


def train_work(config: ModelConfig, *, batch_rows: int, seq_len: int) -> Work:
    """One update: forward and backward of every token, charged for the whole row as published MFU is."""
    tokens = batch_rows * seq_len
    return Work(tokens, tokens * train_flops_per_token(architecture_of(config), seq_len))
