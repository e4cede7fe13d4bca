"""What autograd keeps of a token for the backward pass, counted tensor by tensor for each kind of layer."""

from llmkit.kernels.learn import HEAD_DIM_STEP
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import LatentConfig
from llmkit.model.learnt.operations import HAS_KERNELS
from llmkit.model.recurrent.chunks import CHUNK

_EXPERT_STREAM = 2
"""Rows of hidden_size that are kept for each expert of a token: what goes in and what comes out."""


def layers_bytes(model: ModelConfig, dtype: str, *, native: bool = HAS_KERNELS) -> int:
    """What autograd keeps of a token in all layers.

    Norms keep float32 in bfloat16 arithmetic too, and so do normalised queries and layers of state.

    Args:
        model: its shape.
        dtype: of the arithmetic.
        native: the kernels of training are taken.
    """
    half = dtype == "bfloat16"
    gated = 3 if native and model.hidden_act == "silu" else 4
    kept = len(model.attention_layers) * _attention_bytes(model, half=half, native=native)
    kept += _states_bytes(model)
    if model.lone_mlps is not None:  # each layer has one branch, behind one norm
        kept += 8 * model.num_hidden_layers * model.hidden_size
    if half and model.experts is not None and model.experts.shared_intermediate_size:
        kept += len(model.experts.layers) * 4 * model.hidden_size  # that the shared one's gate and up read
    return kept + (2 if half else 4) * mlp_values(model, gated=gated)


def _attention_bytes(model: ModelConfig, *, half: bool, native: bool) -> int:
    """Of a layer of attention, with its norms and the MLP's.

    In values of D, hidden_size: norms' inputs and outputs, queries before and after their norm and rotation,
    what attention gives, twice (once where kernels have rotated queries); of keys and values likewise.
    """
    width, D = 2 if half else 4, model.hidden_size
    kv = 2 * model.num_key_value_heads * model.head_dim
    if model.lone_mlps is not None:  # its norm is counted with all layers', and no positions are rotated
        return (6 if half else 8) * D + width * kv
    if model.latent is not None:
        return _latent_bytes(model, model.latent, half=half, native=native)
    norms = 16 if model.norm == "rms" else 12
    kept = 32 * D + 6 * kv if model.qk_norm != "none" else (norms + (8 if half else 12)) * D + width * kv
    rotated_once = model.norm == "rms" and native
    return kept - (width * model.num_attention_heads * model.head_dim if rotated_once else 0)


def _latent_bytes(model: ModelConfig, latent: LatentConfig, *, half: bool, native: bool) -> int:
    """What autograd keeps of a token in latent attention and both norms of its layer.

    Beside inputs and outputs of norms, the two narrow ones too: of each head its query and key, joined of two
    parts; what kv_b_proj gave, of which the value is a piece, and what attention gave. PyTorch's takes values
    as wide as keys, and what it gave is laid out anew.
    """
    key, value = model.head_dim, latent.v_head_dim
    if native and not (key % HEAD_DIM_STEP or value % HEAD_DIM_STEP):
        head = 2 * key + latent.qk_nope_head_dim + 2 * value
    else:
        head = 2 * key + 2 * max(key, value) + value
    heads = model.num_attention_heads * head + latent.qk_rope_head_dim
    narrow = latent.q_lora_rank + latent.kv_lora_rank
    return 16 * model.hidden_size + (10 if half else 8) * narrow + (2 if half else 4) * heads


def _states_bytes(model: ModelConfig) -> int:
    """Of all layers of state, with their norms and the MLPs'."""
    norms = 12 * model.hidden_size if model.lone_mlps is None else 0
    return len(model.state_layers) * (norms + 4 * _state_values(model))


def _state_values(model: ModelConfig) -> int:
    """What autograd keeps of a token in a layer of state, beside a norm's, in rows of documents: numbers of
    products, a convolution's inputs as often as it looks back, and the chunk of a rule or state space."""
    if (mamba := model.mamba) is not None:
        heads, keys = mamba.num_heads, mamba.num_groups * mamba.state_size
        chunk = (3 * heads + mamba.num_groups) * CHUNK + 2 * mamba.width * mamba.state_size // CHUNK
        return chunk + mamba.kernel * mamba.convolved + 13 * mamba.width + 7 * keys + 10 * heads
    if (delta := model.delta) is None:
        return 0 if model.short_conv is None else (6 + model.short_conv.kernel) * model.hidden_size
    heads, keys = delta.num_value_heads, delta.num_value_heads * delta.key_head_dim
    chunk = 6 * heads * CHUNK + keys * delta.value_head_dim // CHUNK
    return chunk + 9 * keys + 15 * delta.value_width + 12 * delta.key_width


def mlp_values(model: ModelConfig, *, gated: int) -> int:
    """What the MLPs of all layers keep for each token, in values.

    Of intermediate_size F four, three where `silu_gated` makes them, or two where there is no gate. With
    experts, F is that of all that a token uses, and their inputs and outputs are kept k times beside.

    Args:
        model: its shape.
        gated: values of its width that an MLP with a gate keeps.
    """
    experts = model.experts
    kept = gated if model.gated_mlp else 2
    dense = kept * model.intermediate_size
    mlps = model.num_hidden_layers if model.lone_mlps is None else len(model.lone_mlps)
    if experts is None:
        return mlps * dense
    k = experts.num_experts_per_tok
    inside = (4 if model.gated_mlp else 2) * k * experts.intermediate_size
    inside += kept * experts.shared_intermediate_size
    sparse = inside + _EXPERT_STREAM * k * model.hidden_size
    return (mlps - len(experts.layers)) * dense + len(experts.layers) * sparse
