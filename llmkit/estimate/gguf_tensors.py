"""The tensors of a model as llama.cpp's converter writes them to a GGUF file.

Experts become one tensor, MLA's kv_b_proj becomes two, and what is no matrix product stays in float32.
Not counted: tables that converters add for scaled rotary positions (rope_freqs, a few hundred bytes).
Source: llama.cpp, conversion/base.py and conversion/deepseek.py.
"""

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture, Part, TensorSpec
from llmkit.estimate.matrices import matrices_of

_NAMES = {
    **{"embed_tokens": "token_embd", "lm_head": "output"},
    **{"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "qkv_proj": "attn_qkv"},
    **{"o_proj": "attn_output", "q_a_proj": "attn_q_a", "q_b_proj": "attn_q_b"},
    **{"kv_a_proj": "attn_kv_a_mqa", "gate_proj": "ffn_gate", "up_proj": "ffn_up"},
    **{"down_proj": "ffn_down", "gate_up_proj": "ffn_up"},
}
"""GGUF names by module. A fused gate and up is one ffn_up, or two tensors that take the same types."""
_OWN_NAMES = {
    **{"embed_tokens_per_layer": "per_layer_token_embd", "per_layer_input_gate": "inp_gate"},
    "per_layer_projection": "proj",
}
"""The same of Gemma 4's, whose one matrix for all layers (_UNROUNDED) llama-quantize leaves alone."""
_UNROUNDED = "per_layer_model_projection.weight"
_SHARED, _SHARED_MLP = "shared_expert", ".shared_mlp."
"""In names of the expert that every token uses; HunYuan's and Granite's is the second, which is the whole MLP
of a Granite without experts."""
_STATE_NAMES = {
    **{"in_proj": "ssm_in", "in_proj_qkvz": "attn_qkv", "in_proj_ba": "ssm_ba", "x_proj": "ssm_x"},
    **{"dt_proj": "ssm_dt", "out_proj": "ssm_out", "in_proj_qkv": "attn_qkv", "in_proj_z": "attn_gate"},
    **{"in_proj_b": "ssm_beta", "in_proj_a": "ssm_alpha"},
}
"""GGUF names of Mamba's and Qwen's matrices, by the last word of their own."""


class GgufTensor(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor of a GGUF file, before a type is chosen for it."""

    name: str
    """Its kind, without blk.N. and .weight: token_embd, attn_q, ffn_down, …; `other` for what stays F32."""
    part: Part
    layer: int | None
    columns: int
    """Numbers of a row."""
    rows: int
    """In all: outputs, for every expert."""
    stacked: bool = False
    """Whether it has three dimensions."""
    quantised: bool = True
    """Whether llama-quantize takes it; F32 otherwise."""


def gguf_tensors(architecture: Architecture) -> Iterator[GgufTensor]:
    """Every tensor, in the order in which llama-quantize meets them: by layer, then by name.

    Raises:
        ConfigError: the architecture has a matrix whose name in GGUF files is not known here.
    """
    found = [item for tensor in architecture.tensors for item in _convert(tensor, architecture)]
    yield from sorted(found, key=lambda item: (-1 if item.layer is None else item.layer, item.name))


def _convert(tensor: TensorSpec, architecture: Architecture) -> Iterator[GgufTensor]:
    is_matrix = tensor.linear and not tensor.name.endswith(_UNROUNDED)
    if tensor.part == "router" or not (is_matrix or tensor.module == "embed_tokens"):
        kept = GgufTensor(
            name="other", part=tensor.part, layer=tensor.layer, columns=tensor.numel, rows=1, quantised=False
        )
        yield kept
        return
    count, rows, columns = matrices_of(tensor, architecture)
    whole = GgufTensor(
        name=_name(tensor, count, architecture),
        part=tensor.part,
        layer=tensor.layer,
        columns=columns,
        rows=count * rows,
        stacked=count > 1,
    )
    if tensor.module == "kv_b_proj":
        yield from _split_latent(whole, architecture)
    elif tensor.name.endswith("in_proj_qkvz.weight"):
        yield from _split_gate(whole, architecture)
    else:
        yield whole


def _name(tensor: TensorSpec, count: int, architecture: Architecture) -> str:
    if tensor.module == "kv_b_proj":
        return "attn_kv_b"
    last = tensor.name.removesuffix(".weight").rpartition(".")[2]
    name = _OWN_NAMES.get(last) or _NAMES.get(tensor.module) or _STATE_NAMES.get(last)
    if ".conv." in tensor.name:
        name = f"shortconv.{last}"
    if name is None:
        raise ConfigError(
            f"{tensor.name} ({tensor.module}): its name and type in GGUF files are not known",
            hint="ask for a dtype or another format: --dtype bfloat16",
        )
    if count > 1:
        return f"{name}_exps"
    shared = _SHARED in tensor.name
    if _SHARED_MLP in tensor.name:
        shared = any(other.part == "experts" for other in architecture.tensors)
    return f"{name}_shexp" if shared else name


def _split_latent(whole: GgufTensor, architecture: Architecture) -> Iterator[GgufTensor]:
    """kv_b_proj (heads · (nope + value), rank): values as they are, keys with their two sides exchanged."""
    heads, rank = architecture.num_attention_heads, whole.columns
    value_dim = next(
        matrices_of(tensor, architecture).columns // heads
        for tensor in architecture.tensors
        if tensor.module == "o_proj" and tensor.layer == whole.layer
    )
    nope_dim = whole.rows // heads - value_dim
    yield replace(whole, name="attn_k_b", columns=nope_dim, rows=heads * rank, stacked=True)
    yield replace(whole, name="attn_v_b", rows=heads * value_dim, stacked=True)


def _split_gate(whole: GgufTensor, architecture: Architecture) -> Iterator[GgufTensor]:
    """Qwen3-Next's in_proj_qkvz: what the convolution takes, and the gate."""
    convolved = next(
        tensor.shape[0]
        for tensor in architecture.tensors
        if tensor.module == "conv1d" and tensor.layer == whole.layer
    )
    yield replace(whole, rows=convolved)
    yield replace(whole, name="attn_gate", rows=whole.rows - convolved)
