"""Floating-point operations of any architecture; a multiplication and an addition are two.

Counted are matrix products, attention and states, as PaLM does (Chowdhery et al. 2022, arXiv:2204.02311,
appendix B); of experts, those that a token uses. Norms, activations, softmax, rotary positions, biases and
the embedding look-up are not: they are of a smaller order, and no part of MFU.
"""

from msgspec.structs import replace

from llmkit.estimate.architecture import Architecture, LayerCache
from llmkit.estimate.attended import pairs, reach
from llmkit.estimate.matrices import matrices_of


def prefill_flops(architecture: Architecture, tokens: int, *, depth: int = 0) -> int:
    """Operations of a causal pass over a prompt after `depth` tokens; the head is counted for every token.

    Each weight takes 2 a token. Each pair of a query and a key that it may look at takes 2 for every number
    of the score and of the mixed value; a state, 4 for every number: it is updated, and read. Latents are
    expanded to keys and values, which costs less over a prompt than attending to the latents.
    """
    caches = [_expanded(architecture, cache) for cache in architecture.caches]
    attention = sum(
        _layer_flops(cache, pairs(cache, depth + tokens) - pairs(cache, depth), tokens) for cache in caches
    )
    return 2 * architecture.matmul_parameters * tokens + attention


def decode_flops(architecture: Architecture, context: int) -> int:
    """Operations of one token that attends to `context` positions, its own among them."""
    attention = sum(_layer_flops(cache, reach(cache, context), 1) for cache in architecture.caches)
    return 2 * architecture.matmul_parameters + attention


def train_flops_per_token(architecture: Architecture, seq_len: int) -> int:
    """Forward and backward pass of one token in a row of `seq_len`: 6 N + 12 L H E T for a dense model.

    Every token is charged for the whole row, though causal attention needs half of it: the convention that
    published MFU follows. A layer with a window is charged for that.
    """
    caches = [_expanded(architecture, cache) for cache in architecture.caches]
    attention = sum(_layer_flops(cache, reach(cache, seq_len), 1) for cache in caches)
    return 3 * (2 * architecture.matmul_parameters + attention)  # a backward pass takes twice the forward one


def _layer_flops(cache: LayerCache, looked_at: int, tokens: int) -> int:
    if cache.kind == "state":
        return 4 * cache.recurrent * tokens
    return 2 * cache.query_heads * (cache.score_dim + cache.mixed_dim) * looked_at


def _expanded(architecture: Architecture, cache: LayerCache) -> LayerCache:
    """A latent's layer as it is where many queries share the work of expanding it to keys and values."""
    outputs = [tensor for tensor in architecture.tensors if tensor.module == "o_proj"]
    if cache.kind != "latent" or not outputs:
        return cache
    value_dim = matrices_of(outputs[0], architecture).columns // cache.query_heads
    return replace(cache, score_dim=architecture.head_dim, mixed_dim=value_dim)
