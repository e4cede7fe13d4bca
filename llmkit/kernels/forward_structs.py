"""What native/forward.h declares, for ctypes."""

from ctypes import Structure, c_float, c_int32, c_int64, c_void_p
from enum import IntEnum

from llmkit.kernels.library import WeightStruct

PROJECTIONS = ("q", "k", "v", "o", "gate_up", "down", "attention_gate")
"""A layer's matrices, in the order of their biases."""


BESIDE_NORMS = ("before_router", "before_experts", "after_shared", "after_experts")
"""Of experts beside an MLP."""


class Activation(IntEnum):
    """What a gate passes through; numbers as in native/kernels.h."""

    SILU = 0
    GELU_TANH = 1
    GELU = 2
    RELU = 3
    RELU_SQUARED = 4
    CLAMPED_SWIGLU = 5
    """gpt-oss's, whose limit only a whole pass knows."""
    XIELU = 6
    """Apertus's, whose curve is each layer's own."""
    LOGISTIC = 7
    """What attention's own gate passes through."""


class NormStruct(Structure):
    """Norm of native/forward.h."""

    _fields_ = [("weight", c_void_p), ("bias", c_void_p)]


class ExpertsStruct(Structure):
    """Experts of native/forward.h."""

    _fields_ = [
        ("router", WeightStruct),
        *((name, c_void_p) for name in ("router_bias", "selection_bias", "gate_up", "down")),
        *((name, c_void_p) for name in ("gate_up_bias", "down_bias")),
        *((name, WeightStruct) for name in ("shared_gate_up", "shared_down")),
        *((name, c_void_p) for name in ("shared_gate_up_bias", "shared_down_bias")),
        *((name, c_int32) for name in ("num_experts", "per_token", "intermediate")),
        *((name, c_int32) for name in ("shared_intermediate", "shared_gate", "scoring", "normalised")),
        *((name, c_int32) for name in ("num_groups", "top_groups", "group_scores", "activation")),
        ("weighs_inputs", c_int32),
        *((name, NormStruct) for name in BESIDE_NORMS),
        ("expert_scales", c_void_p),
        *((name, c_float) for name in ("scaling", "limit")),
    ]


class StateStruct(Structure):
    """State of native/forward.h."""

    _fields_ = [
        *((name, WeightStruct) for name in ("inputs", "gate", "rates")),
        *((name, c_void_p) for name in ("inputs_bias", "taps", "taps_bias", "slopes", "steps", "norm")),
        *((name, c_void_p) for name in ("skips", "scales")),
        ("out", WeightStruct),
        ("out_bias", c_void_p),
        *((name, c_int32) for name in ("channels", "kernel")),
        *((name, c_int32) for name in ("key_heads", "value_heads", "key_dim", "value_dim", "activation")),
        *((name, c_float) for name in ("least_step", "most_step", "out_scale")),
    ]


class LatentStruct(Structure):
    """Latent of native/forward.h."""

    _fields_ = [
        ("q_a", WeightStruct),
        *((name, c_void_p) for name in ("q_a_bias", "q_norm", "kv_norm", "into", "keys", "values")),
        *((name, c_int32) for name in ("kept", "plain", "rotated", "value")),
        ("epsilon", c_float),
    ]


class OwnInputStruct(Structure):
    """OwnInput of native/forward.h."""

    _fields_ = [("gate", WeightStruct), ("projection", WeightStruct), ("norm", NormStruct)]


class OwnInputsStruct(Structure):
    """OwnInputs of native/forward.h."""

    _fields_ = [
        *(("table", c_void_p), ("projection", WeightStruct), ("norm", NormStruct)),
        *((name, c_int32) for name in ("table_type", "width")),
        *((name, c_float) for name in ("table_scale", "stream_scale")),
    ]


class LayerStruct(Structure):
    """Layer of native/forward.h."""

    _fields_ = [
        *((name, NormStruct) for name in ("before_attention", "after_attention", "before_mlp", "after_mlp")),
        *((name, NormStruct) for name in ("q_norm", "k_norm")),
        *((name, WeightStruct) for name in PROJECTIONS),
        *((f"{name}_bias", c_void_p) for name in PROJECTIONS),
        *((name, c_void_p) for name in ("sinks", "curve", "experts", "state", "latent", "own_input")),
        *((name, c_int32) for name in ("window", "angles", "kv_heads", "head_dim", "rotary_dim", "owner")),
        *((name, c_float) for name in ("mix_scale", "feed_scale", "scalar")),
    ]


class ModelStruct(Structure):
    """Model of native/forward.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("embedding", "added", "layers", "own_inputs")),
        ("last_norm", NormStruct),
        ("head", WeightStruct),
        ("head_bias", c_void_p),
        *((name, c_int32) for name in ("num_layers", "hidden", "heads", "kv_heads", "head_dim")),
        *((name, c_int32) for name in ("rotary_dim", "intermediate", "vocabulary", "activation", "gated")),
        *((name, c_int32) for name in ("norm_kind", "norm_all_heads", "residual", "embedding_type")),
        *((name, c_int32) for name in ("norm_values", "norm_turned", "chunked", "grows_unrotated")),
        *((name, c_float) for name in ("epsilon", "scale", "softcap", "embedding_scale", "residual_scale")),
        *((name, c_float) for name in ("gate_scale", "logit_scale", "logit_cap")),
    ]


class LowRankStruct(Structure):
    """LowRank of native/kernels.h."""

    _fields_ = [*((name, c_void_p) for name in ("a", "b", "factors")), ("rank", c_int64)]


class PassStruct(Structure):
    """Pass of native/forward.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("ids", "rows", "places")),
        *((name, c_void_p * 2) for name in ("cosine", "sine")),
        ("query_scales", c_void_p),
        *((name, c_void_p) for name in ("keys", "values", "key_scales", "value_scales")),
        *((name, c_void_p) for name in ("group_of", "block_tables", "states", "slots")),
        *((name, c_void_p) for name in ("state_copies", "query_start", "lengths")),
        *((name, c_void_p) for name in ("wanted", "logits")),
        *((name, c_int64) for name in ("table_stride", "state_stride", "kv_row", "scale_row")),
        *((name, c_int32) for name in ("tokens", "texts", "num_wanted", "kv_type", "block_size")),
        *((name, c_int32) for name in ("most_rank", "has_factors")),
        ("adapters", c_void_p),
    ]
