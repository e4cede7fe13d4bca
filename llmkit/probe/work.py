"""What a case of a measurement has to do at the least: floating-point operations, and bytes from memory.

Counted as `estimate/flops.py` does, summed over the positions that are computed. D hidden_size, V vocab_size.
"""

from dataclasses import dataclass

from llmkit.estimate.flops import forward_flops_per_token, train_flops_per_token
from llmkit.estimate.kv import kv_cache_bytes
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
    return Work(prompt, _forward_flops(config, prompt, depth) - (prompt - 1) * head)


def decode_work(config: ModelConfig, *, tokens: int, depth: int, weight_bytes: int, itemsize: int) -> Work:
    """`tokens` steps after `depth` tokens that the cache holds.

    Args:
        weight_bytes: that one step reads.
        itemsize: bytes of one number of the cache.
    """
    seen = _positions_seen(tokens, depth)
    cache = kv_cache_bytes(config, batch=1, context=seen, bytes_per_value=itemsize)
    return Work(tokens, _forward_flops(config, tokens, depth), tokens * weight_bytes + cache)


def train_work(config: ModelConfig, *, batch_rows: int, seq_len: int) -> Work:
    """One update: forward and backward of every token, charged for the whole row as published MFU is."""
    tokens = batch_rows * seq_len
    return Work(tokens, round(tokens * train_flops_per_token(config, seq_len)))


def _positions_seen(tokens: int, depth: int) -> int:
    """Positions that `tokens` tokens after `depth` others attend to, themselves included, in all."""
    return tokens * depth + tokens * (tokens + 1) // 2


def _forward_flops(config: ModelConfig, tokens: int, depth: int) -> int:
    without_attention = forward_flops_per_token(config, 0)
    of_a_position = forward_flops_per_token(config, 1) - without_attention
    return round(tokens * without_attention + _positions_seen(tokens, depth) * of_a_position)
