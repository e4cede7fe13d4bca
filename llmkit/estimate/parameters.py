"""How many parameters a model has, by part, from its config alone.

D hidden_size, F intermediate_size, V vocab_size, L layers, H query heads, K key/value heads, E head_dim.
"""

from dataclasses import astuple, dataclass

from llmkit.model.config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Parameters by part. Each number is learnt and stored once: a tied head is none of its own."""

    embeddings: int
    positions: int
    """A learned table of positions; rotary and sinusoidal positions have none."""
    attention: int
    mlp: int
    norms: int
    """Norms of the layers, of query and key heads, and the last one."""
    head: int

    @property
    def total(self) -> int:
        """All of them, as transformers' `num_parameters()` counts."""
        return sum(astuple(self))


def count_parameters(config: ModelConfig) -> Parameters:
    """Parameters of a model, biases included, by part."""
    D, F, V, L = config.hidden_size, config.intermediate_size, config.vocab_size, config.num_hidden_layers
    norm = 2 * D if config.norm == "layer" else D  # LayerNorm has a bias
    head_norms = 2 * config.head_dim if config.qk_norm else 0
    return Parameters(
        embeddings=V * D,
        positions=config.max_position_embeddings * D if config.position == "learned" else 0,
        attention=L * (attention_weights(config) + _attention_biases(config)),
        mlp=L * (mlp_weights(config) + (_up_projections(config) * F + D if config.mlp_bias else 0)),
        norms=L * (2 * norm + head_norms) + norm,
        head=0 if config.tie_word_embeddings else V * D,
    )


def attention_weights(config: ModelConfig) -> int:
    """Entries of one layer's q, k, v and o matrices, without biases."""
    heads = 2 * config.num_attention_heads + 2 * config.num_key_value_heads  # q and o, k and v
    return config.hidden_size * heads * config.head_dim


def mlp_weights(config: ModelConfig) -> int:
    """Entries of one layer's MLP matrices, without biases."""
    return (_up_projections(config) + 1) * config.hidden_size * config.intermediate_size


def _attention_biases(config: ModelConfig) -> int:
    width = (config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim
    return (width if config.attention_bias else 0) + (config.hidden_size if config.output_bias else 0)


def _up_projections(config: ModelConfig) -> int:
    """Matrices from hidden_size to intermediate_size: gate and up, or up alone."""
    return 2 if config.gated_mlp else 1
