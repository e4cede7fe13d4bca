"""Kernels of training, forwards and backwards: attention within rows of text, cross-entropy, SwiGLU
and rotary positions.

For tensors that are not numpy's: what is given is where they are. Source: Dao et al. 2022, arXiv:2205.14135.
"""

from ctypes import Structure, byref, c_float, c_int32, c_int64, c_void_p

from llmkit.kernels.library import finished, library

HEAD_DIM_STEP = 32
"""What the numbers of a key and of a value must be multiples of."""


class LearntAttentionStruct(Structure):
    """LearntAttention of native/learn.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("q", "k", "v", "out", "lse", "d_out", "d_q", "d_k", "d_v")),
        *((name, c_void_p) for name in ("sinks", "first")),
        *((f"{name}_{step}", c_int64) for name in "qkvg" for step in ("row", "head", "token")),
        *((name, c_int32) for name in ("type", "rows", "heads", "kv_heads", "length")),
        *((name, c_int32) for name in ("key_dim", "value_dim")),
        *((name, c_float) for name in ("scale", "softcap")),
    ]


class CrossEntropyStruct(Structure):
    """CrossEntropy of native/learn.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("logits", "targets", "nats", "terms", "factor", "slopes")),
        *((name, c_int64) for name in ("rows", "cols")),
        ("type", c_int32),
    ]


class LearntGateStruct(Structure):
    """LearntGate of native/learn.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("gate", "up", "d_out", "out", "d_gate", "d_up")),
        ("count", c_int64),
        ("type", c_int32),
    ]


class LearntRotationStruct(Structure):
    """LearntRotation of native/learn.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("x", "out", "cosine", "sine")),
        *((name, c_int64) for name in ("x_row", "x_head", "x_token", "table_row")),
        *((name, c_int64) for name in ("rows", "heads", "length")),
        *((name, c_int32) for name in ("head_dim", "rotary_dim", "type")),
        ("sign", c_float),
    ]


def learnt_attention(struct: LearntAttentionStruct) -> None:
    """Attention forwards, or backwards where there is `d_out`; nothing is checked.

    Raises:
        MissingError: no native library runs here.
        MemoryError: its memory or its threads cannot be had.
    """
    finished(library().llmkit_learn_attention(byref(struct)))


def learnt_attention_bytes(struct: LearntAttentionStruct) -> int:
    """Bytes of scratch memory that each thread touches in the call, for as long as the process runs.

    Raises:
        MissingError: no native library runs here.
    """
    return int(library().llmkit_learn_attention_bytes(byref(struct)))


def cross_entropy(struct: CrossEntropyStruct) -> None:
    """Nats of each row's target, or backwards where there are `slopes`; nothing is checked.

    Raises:
        MissingError, MemoryError: as for `learnt_attention`.
    """
    finished(library().llmkit_cross_entropy(byref(struct)))


def learnt_gate(struct: LearntGateStruct) -> None:
    """silu(gate) * up, or backwards where there is `d_out`; nothing is checked.

    Raises:
        MissingError, MemoryError: as for `learnt_attention`.
    """
    finished(library().llmkit_learn_gate(byref(struct)))


def learnt_rotation(struct: LearntRotationStruct) -> None:
    """Rotary positions, forwards or backwards; nothing is checked.

    Raises:
        MissingError, MemoryError: as for `learnt_attention`.
    """
    finished(library().llmkit_learn_rotation(byref(struct)))
