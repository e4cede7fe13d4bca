"""What training keeps in memory beside weights, gradients and moments."""

from llmkit.model.config import ModelConfig

RUNTIME_BYTES = {"cpu": 300 << 20, "cuda": 0}
"""Python and PyTorch themselves, where their memory is the model's."""
_EXPERT_STREAM = 2
"""Rows of hidden_size that are kept for each expert of a token: what goes in and what comes out."""


def activation_bytes(model: ModelConfig, tokens: int, dtype: str, *, head_tokens: int | None = None) -> int:
    """What a forward pass keeps for the backward pass.

    For each token, in values: in a layer 20 D with RMSNorm (which PyTorch makes of many operations) or 8 D
    with LayerNorm, keys and values, and 4 F or 3 F of the MLP; at the end 3 V for logits, probabilities and
    their gradient. D, F and V are hidden_size, intermediate_size and vocab_size; the factors are measured.
    With experts, F is that of all that a token uses, and their inputs and outputs are kept k times beside.

    Args:
        model: its shape.
        tokens: of a micro-batch.
        dtype: of the arithmetic.
        head_tokens: that the head scores at once; None: all of a micro-batch.
    """
    width = 2 if dtype == "bfloat16" else 4
    stream = (20 if model.norm == "rms" else 8) * model.hidden_size
    kv = 2 * model.num_key_value_heads * model.head_dim
    layers = model.num_hidden_layers * (stream + kv) + _mlp_values(model)
    head = tokens if head_tokens is None else min(tokens, head_tokens)
    return tokens * layers * width + head * 3 * 4 * model.vocab_size


def _mlp_values(model: ModelConfig) -> int:
    """What the MLPs of all layers keep for each token."""
    dense, experts = (4 if model.gated_mlp else 3) * model.intermediate_size, model.experts
    if experts is None:
        return model.num_hidden_layers * dense
    k = experts.num_experts_per_tok
    inside = k * experts.intermediate_size + experts.shared_intermediate_size
    sparse = 4 * inside + _EXPERT_STREAM * k * model.hidden_size
    return (model.num_hidden_layers - len(experts.layers)) * dense + len(experts.layers) * sparse
