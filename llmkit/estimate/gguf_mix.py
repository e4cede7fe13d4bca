"""The type that llama-quantize gives each tensor of a GGUF file, for every file type it can make.

A file type is a base type and exceptions: layers near both ends, values and down projections of every third
layer, the head, models with 8 experts, Falcon. The rules are those of llama.cpp's src/llama-quant.cpp in 2026
(fused attn_qkv is treated as attn_v since then), without `--pure` or any `--tensor-type`.
"""

from collections import Counter
from collections.abc import Iterator

import msgspec

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture
from llmkit.estimate.gguf_tensors import GgufTensor, gguf_tensors
from llmkit.estimate.matrices import num_experts
from llmkit.formats.gguf.types import GGML_TYPES, GgmlType

BASE_TYPES: dict[str, str] = {
    **{name: name for name in ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q6_K")},
    **{"Q2_K": "Q2_K", "Q2_K_S": "Q2_K", "Q3_K_S": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_L": "Q3_K"},
    **{"Q4_K_S": "Q4_K", "Q4_K_M": "Q4_K", "Q5_K_S": "Q5_K", "Q5_K_M": "Q5_K"},
    **{"IQ1_S": "IQ1_S", "IQ1_M": "IQ1_M", "IQ2_XXS": "IQ2_XXS", "IQ2_XS": "IQ2_XS", "IQ2_S": "IQ2_XS"},
    **{"IQ2_M": "IQ2_S", "IQ3_XXS": "IQ3_XXS", "IQ3_XS": "IQ3_S", "IQ3_S": "IQ3_S", "IQ3_M": "IQ3_S"},
    **{"IQ4_XS": "IQ4_XS", "IQ4_NL": "IQ4_NL", "TQ1_0": "TQ1_0", "TQ2_0": "TQ2_0", "MXFP4_MOE": "MXFP4"},
}
"""What most tensors of a file type are, by the names of llama-quantize."""

NEED_IMATRIX = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S")
"""File types that llama-quantize makes with an importance matrix only."""

_PLAIN = ("F32", "F16", "BF16")
_TINY = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M")
_TINY_WIDE = ("IQ2_S", "IQ2_M")
_TERNARY = ("TQ1_0", "TQ2_0")
_EIGHT_EXPERTS_OUTPUT_Q5_K = (
    *("Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M"),
    *("IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M", "IQ4_XS", "IQ4_NL"),
)
_FALLBACK = {
    **{"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"},
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S"), "IQ4_NL"),
    **dict.fromkeys(("IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(_TERNARY, "Q4_0"),
}
"""What a type of 256-number blocks becomes where a row is no multiple of 256."""
_MODELS_70B = {"qwen2": 80, "deci": 80, "nemotron-nas": 80, "olmo": 80, "jais2": 68}
"""Layers that make llama.cpp say 70B, besides the llama architecture's 80 with grouped queries."""
_LLAMA_LIKE = ("llama", "mistral", "mixtral")


class _Mix(msgspec.Struct, frozen=True, kw_only=True):
    """A file type, and what its rules look at in a model."""

    file: str
    imatrix: bool
    layers: int
    experts: int
    queries_per_key: int
    falcon: bool
    size_70b: bool
    tied_head: bool
    values: int
    """Tensors that hold value projections."""

    def more_bits(self, place: int, places: int) -> bool:
        """The first and last eighth of layers, and every third between."""
        first, last = places // 8, 7 * places // 8
        return place < first or place >= last or (place - first) % 3 == 2


def gguf_types(
    architecture: Architecture, file_type: str, *, imatrix: bool = False
) -> Iterator[tuple[GgufTensor, GgmlType]]:
    """Every tensor of a GGUF file, with the type that `llama-quantize … FILE_TYPE` stores it in.

    Args:
        file_type: a name of `BASE_TYPES`.
        imatrix: whether an importance matrix is given; taken as given for the types of `NEED_IMATRIX`.

    Raises:
        ConfigError: a row fits no block of its type, or a tensor's GGUF name is not known.
    """
    tensors = list(gguf_tensors(architecture))
    mix = _mix(architecture, file_type, imatrix or file_type in NEED_IMATRIX, tensors)
    met: Counter[str] = Counter()
    for tensor in tensors:
        if not tensor.quantised:
            yield tensor, GGML_TYPES["F32"]
        elif file_type in _PLAIN:
            yield tensor, GGML_TYPES[file_type]
        else:
            role = _role(tensor.name)
            yield tensor, _fitting(tensor, _choose(mix, tensor, role, met[role]), file_type)
            met[role] += 1


def _mix(architecture: Architecture, file_type: str, imatrix: bool, tensors: list[GgufTensor]) -> _Mix:
    heads, kv_heads = architecture.num_attention_heads, architecture.num_key_value_heads
    layers, kind = architecture.num_hidden_layers, architecture.model_type
    llama_70b = kind in _LLAMA_LIKE and layers == 80 and heads != kv_heads
    return _Mix(
        file=file_type,
        imatrix=imatrix,
        layers=layers,
        experts=num_experts(architecture),
        queries_per_key=heads // kv_heads if kv_heads else 0,
        falcon=kind == "falcon",
        size_70b=llama_70b or _MODELS_70B.get(kind) == layers,
        tied_head=architecture.tied_head,
        values=sum(_role(tensor.name) == "value" for tensor in tensors if tensor.quantised),
    )


def _role(name: str) -> str:
    """Tensors that the rules treat alike."""
    if name in ("attn_v", "attn_qkv", "attn_kv_b"):
        return "value"
    if name == "per_layer_token_embd":
        return "token_embd"
    return next((role for role in ("ffn_down", "ffn_up", "ffn_gate") if name.startswith(role)), name)


def _choose(mix: _Mix, tensor: GgufTensor, role: str, met: int) -> str:
    """The type that the rules want. `met`: tensors of this role before this one."""
    place = tensor.layer if mix.experts > 1 and tensor.layer is not None else met
    if role == "output" or (role == "token_embd" and mix.tied_head):
        return _head(mix, tensor)
    if mix.file == "MXFP4_MOE":
        return "MXFP4" if tensor.stacked else "Q8_0"
    if role == "token_embd":
        return _embedding(mix)
    if mix.file in _TINY:
        return _tiny(mix, role, met)
    match role:
        case "value":
            return _value(mix, met)
        case "attn_k" if mix.experts == 8:
            return "Q8_0"
        case "attn_k" | "attn_q":
            return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(mix.file, BASE_TYPES[mix.file])
        case "attn_output":
            return _attention_output(mix)
        case "ffn_down":
            return _down(mix, place)
        case "ffn_up" | "ffn_gate":
            inner = mix.layers // 8 <= place < 7 * mix.layers // 8
            return "IQ3_XXS" if mix.file == "IQ3_XS" and inner else BASE_TYPES[mix.file]
    return BASE_TYPES[mix.file]


def _head(mix: _Mix, tensor: GgufTensor) -> str:
    base = GGML_TYPES[BASE_TYPES[mix.file]]
    if mix.file == "MXFP4_MOE" or mix.falcon or tensor.columns % base.values or base.name == "Q8_0":
        return "Q8_0"
    return "Q5_K" if mix.file in (*_TINY, "IQ3_XXS") else "Q6_K"


def _embedding(mix: _Mix) -> str:
    if mix.file in (*_TINY_WIDE, "IQ3_XXS"):
        return "IQ3_S"
    if mix.file in _TINY:
        return "Q2_K"
    return "Q4_K" if mix.file in _TERNARY else BASE_TYPES[mix.file]


def _tiny(mix: _Mix, role: str, met: int) -> str:
    """Types of about two bits a number or less: a few tensors get three, four or five."""
    better = "IQ3_S" if mix.file in _TINY_WIDE else "Q2_K"
    if role == "value":
        return "Q4_K" if mix.queries_per_key >= 4 or mix.experts >= 4 else better
    if role == "attn_k" and mix.experts == 8:
        return "Q4_K"
    if role == "ffn_down" and met < mix.layers // 8:
        return better
    if role == "attn_output":
        if mix.experts == 8:
            return "Q5_K"
        if mix.file in ("IQ1_S", "IQ1_M"):
            return "IQ2_XXS"
        return "IQ3_S" if mix.file in _TINY_WIDE else BASE_TYPES[mix.file]
    return BASE_TYPES[mix.file]


def _value(mix: _Mix, met: int) -> str:
    shared = mix.queries_per_key >= 4  # few numbers, read by many heads
    base = BASE_TYPES[mix.file]
    wanted = {
        "Q2_K": "Q4_K" if shared else "Q3_K",
        "Q2_K_S": "Q4_K" if shared else base,
        "Q3_K_M": "Q5_K" if met < 2 else "Q4_K",
        "Q3_K_L": "Q5_K",
        "Q4_K_S": "Q5_K" if met < 4 else base,
        "Q4_K_M": "Q6_K" if mix.more_bits(met, mix.values) else base,
        "Q5_K_M": "Q6_K" if mix.more_bits(met, mix.values) else base,
        "IQ3_XXS": "Q4_K" if shared else base,
        "IQ3_XS": "Q4_K" if shared else base,
        "IQ3_S": "Q4_K" if shared else base,
        "IQ3_M": "Q4_K",
        "IQ4_NL": "Q5_K" if shared else base,
        "IQ4_XS": "Q5_K" if shared else base,
    }.get(mix.file, base)
    if mix.experts == 8:
        return "Q8_0"
    return "Q5_K" if mix.size_70b and wanted in ("Q3_K", "Q4_K") else wanted


def _down(mix: _Mix, place: int) -> str:
    base, early = BASE_TYPES[mix.file], place < mix.layers // 8
    more, first = mix.more_bits(place, mix.layers), place < mix.layers // 16
    match mix.file:
        case "Q2_K":
            return "Q3_K"
        case "Q2_K_S":
            return "Q4_K" if early else base
        case "Q3_K_M" if first:
            return "Q5_K"
        case "Q3_K_M":
            return "Q4_K" if more or not mix.falcon else base
        case "Q3_K_L":
            return "Q4_K" if mix.falcon else "Q5_K"
        case "Q4_K_S":
            return "Q5_K" if early and not mix.falcon else base
        case "Q4_K_M" if mix.falcon:
            return "Q6_K" if first else "Q5_K" if more else base
        case "Q4_K_M" | "Q5_K_M":
            return "Q6_K" if more else base
        case "IQ3_M":
            return "Q4_K" if early or (mix.experts == 8 and more) else base
        case "IQ4_NL" | "IQ4_XS":
            return "Q5_K" if early and not mix.imatrix else base
        case "Q4_0" | "Q5_0":
            return base[:-1] + "1" if early and mix.imatrix else base
    return base


def _attention_output(mix: _Mix) -> str:
    base = BASE_TYPES[mix.file]
    if mix.falcon:
        return "Q4_K" if mix.file == "Q3_K_L" else base
    if mix.experts == 8:
        return "Q5_K" if mix.file in _EIGHT_EXPERTS_OUTPUT_Q5_K else base
    better = {"Q2_K": "Q3_K", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_XXS": "IQ3_S", "IQ3_M": "Q4_K"}
    return better.get(mix.file, base)


def _fitting(tensor: GgufTensor, wanted: str, file_type: str) -> GgmlType:
    """The wanted type, or what llama.cpp takes where a row is no whole number of its blocks."""
    kind = GGML_TYPES[wanted]
    if tensor.columns % kind.values == 0:
        return kind
    if wanted not in _FALLBACK:
        raise ConfigError(
            f"{tensor.name}: a row of {tensor.columns} does not fill {wanted} blocks of {kind.values}",
            hint=f"llama-quantize refuses {file_type} for this model too: try f16",
        )
    fallback = GGML_TYPES[_FALLBACK[wanted]]
    return GGML_TYPES["F16"] if tensor.columns % fallback.values else fallback
