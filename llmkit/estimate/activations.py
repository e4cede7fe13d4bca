"""Memory of activations: what a forward pass keeps for the backward one, and what a prefill needs.

After Korthikanti et al. 2022 (arXiv:2205.05198), tensor by tensor, so that a gated MLP, grouped queries and
experts are counted as they are. Of each token a layer keeps, on every device of t (with sequence parallelism
1/t of it), the inputs of its norms, of its attention and of its MLP, and the masks of two dropouts; and on
each device 1/t of the queries, keys, values, outputs of gate and up, and inputs of the matrices that write
hidden_size numbers. For GPT's shapes that is the paper's sbh (10 + 24/t). Scores come on top unless a flash
kernel or selective recomputation makes them again: 5 a s of the paper, of which dropout is 3.

Counted is what fused kernels keep: SiLU(gate) * up keeps gate, up and their product, where PyTorch's own
operations keep SiLU(gate) as well.
"""

from fractions import Fraction
from math import ceil
from typing import get_args

import msgspec

from llmkit.errors import ConfigError
from llmkit.estimate.adapters import WRITES_HIDDEN
from llmkit.estimate.architecture import Architecture, TensorSpec
from llmkit.estimate.bounds import require_at_least
from llmkit.estimate.config import Recompute
from llmkit.estimate.matrices import matrices_of

RECOMPUTES: tuple[str, ...] = get_args(Recompute)
_INNER = ("q_b_proj", "kv_b_proj")
"""Matrices inside attention whose input is a norm's output, kept beside that norm's input."""


class ActivationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a device sees of one micro-batch.

    Raises:
        ConfigError: a number is below 1, or a name is unknown.
    """

    seq_len: int
    micro_batch: int = 1
    """Rows that go through the model together."""
    recompute: Recompute = "selective"
    """What the backward pass works out again. none: nothing, scores are kept. selective: scores, as flash
    attention does. full: whole layers, of which the input alone is kept."""
    tensor_parallel: int = 1
    sequence_parallel: bool = False
    """Whether norms, dropouts and layers' inputs are split over the tensor-parallel devices too."""
    dropout: bool = False
    """Masks of dropout are kept. Models since Llama have none; GPT-3 had."""

    def __post_init__(self) -> None:
        for name in ("seq_len", "micro_batch", "tensor_parallel"):
            require_at_least(name, getattr(self, name), 1)
        if self.recompute not in RECOMPUTES:
            raise ConfigError(
                f"unknown recompute {self.recompute!r}", hint=f"use one of {', '.join(RECOMPUTES)}"
            )

    @property
    def tokens(self) -> int:
        """Of one micro-batch."""
        return self.seq_len * self.micro_batch

    @property
    def sequence_shards(self) -> int:
        """Devices over which the numbers between the matrices are split."""
        return self.tensor_parallel if self.sequence_parallel else 1


def layer_activation_bytes(
    architecture: Architecture, layer: int, settings: ActivationSettings, *, bytes_per_value: int = 2
) -> int:
    """What one layer keeps of one micro-batch on one device, in bytes.

    Args:
        architecture: the model.
        layer: its number, from 0.
        settings: the micro-batch, and what is worked out again.
        bytes_per_value: 2 in 16 bits, 4 in float32; a mask takes one byte.

    Raises:
        ConfigError: the model has no such layer; or scores are kept, and which layers have any is unknown.
    """
    if not 0 <= layer < architecture.num_hidden_layers:
        raise ConfigError(
            f"no layer {layer} in a model of {architecture.num_hidden_layers}", hint="layers count from 0"
        )
    hidden, shards = architecture.hidden_size, settings.sequence_shards
    if settings.recompute == "full":
        return ceil(Fraction(settings.tokens * hidden * bytes_per_value, shards))
    tensors = [tensor for tensor in architecture.tensors if tensor.layer == layer]
    whole, split = _kept_values(architecture, tensors)
    masks = hidden * len(_blocks(tensors)) if settings.dropout else 0
    per_token = Fraction(whole * bytes_per_value + masks, shards)
    per_token += Fraction(split * bytes_per_value, settings.tensor_parallel)
    if settings.recompute == "none":
        kept = 2 * bytes_per_value + 1 if settings.dropout else bytes_per_value
        per_token += Fraction(_scores(architecture, layer, settings) * kept, settings.tensor_parallel)
    return ceil(settings.tokens * per_token)


def embedding_activation_bytes(architecture: Architecture, settings: ActivationSettings) -> int:
    """What the embeddings keep of one micro-batch: ids of 8 bytes, and the mask of a dropout."""
    mask = Fraction(architecture.hidden_size, settings.sequence_shards) if settings.dropout else 0
    return ceil(settings.tokens * (8 + mask))


def output_activation_bytes(
    architecture: Architecture, settings: ActivationSettings, *, bytes_per_value: int = 2
) -> int:
    """What the last norm, the head and the loss keep of one micro-batch: logits are float32."""
    inputs = Fraction(2 * architecture.hidden_size * bytes_per_value, settings.sequence_shards)
    logits = Fraction(4 * architecture.vocab_size, settings.tensor_parallel)
    return ceil(settings.tokens * (inputs + logits))


def prefill_activation_bytes(architecture: Architecture, *, chunk_tokens: int, sampled_rows: int = 1) -> int:
    """What inference needs beside weights and cache, at most at a time, in bytes; an engineering estimate.

    Per token of a chunk: the residual stream and its normed copy, and the wider of the MLP's gate and up, or
    queries, keys and values, in 2 bytes each. Per row that a token is drawn from: float32 logits.

    Args:
        architecture: the model.
        chunk_tokens: tokens that go through the model together.
        sampled_rows: sequences that get a token in this step.

    Raises:
        ConfigError: chunk_tokens is below 1, or sampled_rows below 0.
    """
    require_at_least("chunk_tokens", chunk_tokens, 1)
    require_at_least("sampled_rows", sampled_rows, 0)
    heads = architecture.num_attention_heads + 2 * architecture.num_key_value_heads
    widest = max(2 * architecture.mlp_width, heads * architecture.head_dim)
    per_token = 2 * architecture.hidden_size + widest
    return 2 * chunk_tokens * per_token + sampled_rows * architecture.vocab_size * 4


def _scores(architecture: Architecture, layer: int, settings: ActivationSettings) -> int:
    """Of one token: every head's, with all of the row or of what an encoder wrote, masked ones too."""
    if len(architecture.caches) != architecture.num_hidden_layers:
        raise ConfigError(
            f"which of {architecture.num_hidden_layers} layers have scores to keep is not known "
            f"(found {len(architecture.caches)} caches)",
            hint="recompute selective, which keeps none",
        )
    cache = architecture.caches[layer]
    return cache.query_heads * (cache.window if cache.kind == "cross" else settings.seq_len)


def _blocks(tensors: list[TensorSpec]) -> set[str]:
    """The halves of a layer that end in a dropout: attention (or a state), and the MLP."""
    halves = {"attention": "attention", "mlp": "mlp", "experts": "mlp"}
    return {halves[tensor.part] for tensor in tensors if tensor.part in halves and tensor.linear}


def _kept_values(architecture: Architecture, tensors: list[TensorSpec]) -> tuple[int, int]:
    """Numbers kept of a token: those every tensor-parallel device has, and those split between them."""
    hidden = architecture.hidden_size
    norms = [
        t for t in tensors if t.module == "norm" and t.shape == (hidden,) and not t.name.endswith("bias")
    ]
    whole = hidden * (len(norms) or 2)  # a norm without weights is there all the same
    whole += hidden * len(_blocks(tensors))
    split = Fraction(0)
    for tensor in tensors:
        if not tensor.linear or tensor.part == "router":
            continue
        count, rows, columns = matrices_of(tensor, architecture)
        used = Fraction(tensor.active).limit_denominator(10**6) * count
        split += used * (columns if tensor.module in WRITES_HIDDEN else rows)
        if tensor.module in _INNER:
            split += used * columns
        if tensor.part == "experts" and tensor.module == "down_proj":
            whole += round(2 * used * hidden)  # each expert has its own copy of a token, and its own answer
    return whole, round(split)
