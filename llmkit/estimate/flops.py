"""Floating-point operations of a model, from its config alone; a multiplication and an addition are two.

Counted are matrix products and attention, as PaLM does (Chowdhery et al. 2022, arXiv:2204.02311, appendix B).
Norms, activations, softmax, rotary positions, biases and the embedding look-up are not: they are of a smaller
order, and no part of MFU.
"""

from llmkit.estimate.parameters import attention_weights, mlp_weights
from llmkit.model.config import ModelConfig


def matmul_parameters(config: ModelConfig) -> int:
    """Weights that every token is multiplied with: attention, MLP, and the head even where it is tied."""
    layer = attention_weights(config) + mlp_weights(config)
    return config.num_hidden_layers * layer + config.vocab_size * config.hidden_size


def forward_flops_per_token(config: ModelConfig, context: int) -> int:
    """One token's forward pass, its scores included, when it attends to `context` positions.

    This is one step of decoding. A whole causal prefill of T tokens takes T times the value at a context of
    (T + 1) / 2, the mean over its positions.
    """
    width = config.num_attention_heads * config.head_dim
    attention = 4 * config.num_hidden_layers * width * context  # scores, then the weighted sum of values
    return 2 * matmul_parameters(config) + attention


def train_flops_per_token(config: ModelConfig, seq_len: int) -> int:
    """Forward and backward pass of one token in a row of `seq_len`: 6 N + 12 L H E T.

    Every token is charged for the whole row, though causal attention needs half of it: the convention that
    published MFU follows.
    """
    return 3 * forward_flops_per_token(config, seq_len)  # a backward pass takes twice the forward one
