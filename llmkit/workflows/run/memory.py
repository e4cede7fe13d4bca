"""What training keeps in memory beside weights, gradients and moments: counted, then held against runs.

What autograd keeps was counted exactly, tensor by tensor, for each kind of layer (its test does it
again). What a process holds was measured on runs of 1M to 40M parameters: see tests/bench/README.md.
"""

from llmkit.model.config import ModelConfig
from llmkit.train.config import ActivationCheckpointing

RUNTIME_BYTES = {"cpu": 325 << 20, "cuda": 0}
"""Python and PyTorch themselves, where their memory is the model's."""
RECOMPUTING_BYTES = {"cpu": 80 << 20, "cuda": 0}
"""torch._dynamo, which PyTorch imports with the first layer that is computed again."""
_AT_WORK = {"full": 3, "selective": 1}
"""Layers' worth that is held while one is computed again: measured."""
_ALLOCATOR = 1.2
"""Held over kept: what was freed between two tensors that stay is not given back."""
_EXPERT_STREAM = 2
"""Rows of hidden_size that are kept for each expert of a token: what goes in and what comes out."""


def activation_bytes(
    model: ModelConfig,
    tokens: int,
    dtype: str,
    *,
    head_tokens: int | None = None,
    recomputing: ActivationCheckpointing = "none",
) -> int:
    """What a process holds for what a forward pass keeps for the backward pass.

    The layers' part, and at the end the logits and their logarithms of probabilities in float32, or with
    bfloat16 the logits in both.

    Args:
        model: its shape.
        tokens: of a micro-batch.
        dtype: of the arithmetic.
        head_tokens: that the head scores at once; None: all of a micro-batch.
        recomputing: what the layers do not keep, but compute again one by one.
    """
    half = dtype == "bfloat16"
    head = tokens if head_tokens is None else min(tokens, head_tokens)
    logits = head * model.vocab_size * (10 if half else 8)
    kept = layers_bytes(model, dtype)
    if recomputing != "none":
        at_work = _AT_WORK[recomputing] * kept // model.num_hidden_layers
        kept = min(kept, at_work + _recomputed_bytes(model, dtype, recomputing))
    return round(_ALLOCATOR * tokens * kept) + logits


def layers_bytes(model: ModelConfig, dtype: str) -> int:
    """What autograd keeps of a token in all layers.

    In values of D, hidden_size: norms' inputs and outputs, queries before and after their norm and rotation,
    what attention gives, twice; of keys and values likewise. Of the MLP four values of F, intermediate_size,
    or two where it has no gate. Norms keep float32 in bfloat16 arithmetic too, and so do normalised queries.
    With experts, F is that of all that a token uses, and their inputs and outputs are kept k times beside.
    """
    half = dtype == "bfloat16"
    kv = 2 * model.num_key_value_heads * model.head_dim
    if model.qk_norm != "none":
        attention = 32 * model.hidden_size + 6 * kv
    elif model.norm == "rms":
        attention = (24 if half else 28) * model.hidden_size + (2 if half else 4) * kv
    else:
        attention = (20 if half else 24) * model.hidden_size + (2 if half else 4) * kv
    return model.num_hidden_layers * attention + (2 if half else 4) * _mlp_values(model)


def _recomputed_bytes(model: ModelConfig, dtype: str, recomputing: ActivationCheckpointing) -> int:
    """What all layers keep of a token: what comes in; `selective`: what products and attention gave too."""
    layers, width = model.num_hidden_layers, 2 if dtype == "bfloat16" else 4
    kept = layers * 4 * model.hidden_size
    if recomputing == "selective":
        kv = 2 * model.num_key_value_heads * model.head_dim
        kept += width * (layers * (4 * model.hidden_size + kv) + _mlp_values(model) // 2)
    return kept


def _mlp_values(model: ModelConfig) -> int:
    """What the MLPs of all layers keep for each token."""
    dense, experts = (4 if model.gated_mlp else 2) * model.intermediate_size, model.experts
    if experts is None:
        return model.num_hidden_layers * dense
    k = experts.num_experts_per_tok
    inside = k * experts.intermediate_size + experts.shared_intermediate_size
    sparse = 4 * inside + _EXPERT_STREAM * k * model.hidden_size
    return (model.num_hidden_layers - len(experts.layers)) * dense + len(experts.layers) * sparse
