"""A model's tensors as GGUF files keep them, and back: names and layouts, group by group. No torch.

Shapes: N experts, F intermediate_size of one, D hidden_size, H heads, C kv_lora_rank, K and V numbers of a
head's key without a position and of its value.
Source: gguf-py's constants and tensor_mapping; layouts from ggml-org/llama.cpp `conversion/`.
"""

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from llmkit.model.arrays import Array, compact, divided, joined
from llmkit.model.config import ModelConfig
from llmkit.model.gguf.architectures import GgufArchitecture, gguf_architecture
from llmkit.model.gguf.curves import is_of_curve
from llmkit.model.gguf.delta_layouts import DeltaLayout, delta_tensors
from llmkit.model.gguf.gemma4 import GEMMA4, OUTSIDE, gemma4_name
from llmkit.model.gguf.mamba_layouts import MambaLayout, mamba_tensor
from llmkit.model.shapes import Shape

How = Literal["same", "flat", "row", "in_turns", "plus_one", "joined", "halves", "latent", "layout"]
"""
same: under another name.
flat: a convolution's (C, 1, K) as (C, K).
row: a single row (1, D) as (D,).
in_turns: the rows of each head by pairs: the first of the first half, the first of the second, and so on.
plus_one: 1 is added; both are float32.
joined: ours below each other.
halves: a stack (N, 2 F, ...) as two (N, F, ...): gates, ups.
latent: kv_b_proj as keys (H, C, K), turned, and values (H, V, C).
layout: as `DeltaLayout` or `MambaLayout` says.
"""

_MODULES = {
    **{"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v"},
    **{"self_attn.o_proj": "attn_output"},
    **{f"self_attn.{one}_norm": f"attn_{one}_norm" for one in ("q", "k")},
    **{"self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm"},
    **{"self_attn.q_b_proj": "attn_q_b", "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa"},
    **{"self_attn.kv_a_layernorm": "attn_kv_a_norm", "self_attn.kv_b_proj": "attn_kv_b"},
    **{"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"},
    **{"mlp.gate": "ffn_gate_inp", "mlp.shared_expert_gate": "ffn_gate_inp_shexp"},
    **{"mlp.shared_expert.gate_proj": "ffn_gate_shexp", "mlp.shared_expert.up_proj": "ffn_up_shexp"},
    **{"mlp.shared_expert.down_proj": "ffn_down_shexp", "input_layernorm": "attn_norm"},
    **{"pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"},
    **{f"conv.{name}": f"shortconv.{name}" for name in ("in_proj", "conv", "out_proj")},
}
"""Modules of a layer."""
_PARAMETERS = {
    **{"self_attn.sinks": "attn_sinks.weight", "mlp.gate.e_score_correction_bias": "exp_probs_b.bias"},
    **{"mlp.experts.down_proj": "ffn_down_exps.weight", "mlp.experts.down_proj_bias": "ffn_down_exps.bias"},
    "mlp.experts.up_proj": "ffn_up_exps.weight",
}
"""Tensors of a layer that are no module's weight or bias."""
_OUTSIDE = {
    **{"model.embed_tokens": "token_embd", "model.embed_positions": "position_embd"},
    **{"lm_head": "output", **OUTSIDE},
}
_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_GATE_UP = ("mlp.gate_proj", "mlp.up_proj")
_DELTA, _MAMBA = "linear_attn.", "mamba."
_IN_LAYER = re.compile(r"^model\.layers\.(\d+)\.(.+)$")


@dataclass(frozen=True)
class GgufGroup:
    """Tensors of the model, and those of a file with the same numbers."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    how: How = "same"
    heads: int = 0
    """In turns: heads that the rows are of; latent: query heads."""
    key_dim: int = 0
    """Latent: K."""
    layout: DeltaLayout | MambaLayout | None = None

    @property
    def is_computed(self) -> bool:
        """Whether numbers are others in a file, for which they are made float32."""
        return self.how == "plus_one" or (self.layout is not None and self.layout.is_computed)

    @property
    def moves_columns(self) -> bool:
        """Whether the columns of a matrix stand elsewhere in a file."""
        return self.layout is not None and self.layout.moves_columns

    def pack(self, ours: Sequence[Array]) -> list[Array]:
        """The file's tensors, in the order of `theirs`: views or copies of ours."""
        first = ours[0]
        match self.how:
            case "same":
                return [first]
            case "flat":
                return [first[:, 0]]
            case "row":
                return [first[0]]
            case "in_turns":
                halves = first.reshape(self.heads, 2, -1, *first.shape[1:])
                return [halves.swapaxes(1, 2).reshape(first.shape)]
            case "plus_one":
                return [first + 1]
            case "joined":
                return [joined(ours)]
            case "halves":
                half = first.shape[1] // 2
                return [first[:, :half], first[:, half:]]
            case "latent":
                by_head = first.reshape(self.heads, -1, *first.shape[1:])  # (H, K + V, C)
                return [by_head[:, : self.key_dim].swapaxes(1, 2), by_head[:, self.key_dim :]]
            case "layout":
                return self._layout.pack(first)

    def shapes(self, ours: Sequence[Shape]) -> list[Shape]:
        """The shapes of the file's tensors, from those of the model's."""
        first = ours[0]
        match self.how:
            case "same" | "in_turns" | "plus_one":
                return [first]
            case "row":
                return [first[1:]]
            case "flat":
                return [(first[0], *first[2:])]
            case "joined":
                return [(sum(one[0] for one in ours), *first[1:])]
            case "halves":
                return [(first[0], first[1] // 2, *first[2:])] * 2
            case "latent":
                value_dim = first[0] // self.heads - self.key_dim
                return [(self.heads, first[1], self.key_dim), (self.heads, value_dim, first[1])]
            case "layout":
                return self._layout.shapes(first)

    def unpack(self, theirs: Sequence[Array], rows: Sequence[int]) -> list[Array]:
        """The model's tensors, in the order of `ours`: what is kept as it is, or only joined, as views.

        Args:
            theirs: the file's, in their order.
            rows: the first dimension of each of ours.
        """
        first = theirs[0]
        match self.how:
            case "same":
                return [first]
            case "flat":
                return [first.reshape(len(first), 1, -1)]
            case "row":
                return [first.reshape(1, -1)]  # a matrix in files of before 2026-12
            case "in_turns":
                pairs = first.reshape(self.heads, -1, 2, *first.shape[1:])
                return [compact(pairs.swapaxes(1, 2)).reshape(first.shape)]
            case "plus_one":
                return [first - 1]
            case "joined":
                return divided(first, rows)
            case "halves":
                return [joined(theirs, axis=1)]
            case "latent":
                by_head = joined((first.swapaxes(1, 2), theirs[1]), axis=1)
                return [by_head.reshape(-1, by_head.shape[2])]
            case "layout":
                return [self._layout.unpack(theirs)]

    @property
    def _layout(self) -> DeltaLayout | MambaLayout:
        assert self.layout is not None
        return self.layout


def gguf_groups(
    config: ModelConfig, names: Iterable[str], present: Container[str] | None = None
) -> list[GgufGroup]:
    """The groups of a model whose tensors are called `names`, in their order; what is a key there has none.

    Args:
        config: of the model.
        names: of its state_dict.
        present: tensors of a file to be read, which may keep some things in another of llama.cpp's ways; None
            for a file to be written.

    Raises:
        ConfigError: llama.cpp has no such family.
    """
    architecture = gguf_architecture(config)
    found: dict[tuple[str, ...], GgufGroup] = {}
    for name in names:
        if is_of_curve(name):
            continue
        group = _group(config, architecture, name, present)
        found.setdefault(group.ours, group)
    return list(found.values())


def _group(
    config: ModelConfig, architecture: GgufArchitecture, name: str, present: Container[str] | None
) -> GgufGroup:
    in_layer = _IN_LAYER.match(name)
    if in_layer is None:
        module, _, kind = name.rpartition(".")
        outside = architecture.last_norm if module == "model.norm" else _OUTSIDE[module]
        return GgufGroup((name,), (f"{outside}.{kind}",), _norm_how(config, module, kind))
    layer, inner = in_layer.groups()
    if architecture.name == GEMMA4 and (theirs := gemma4_name(layer, inner)) is not None:
        return GgufGroup((name,), (theirs,))
    if inner.startswith(_DELTA):
        return _delta(config, name, layer, inner.removeprefix(_DELTA), present)
    if inner.startswith(_MAMBA):
        return _mamba(config, name, layer, inner.removeprefix(_MAMBA))
    if inner in _PARAMETERS:
        return GgufGroup((name,), (f"blk.{layer}.{_PARAMETERS[inner]}",))
    if inner.startswith("mlp.experts.gate_up_proj"):
        kind = "bias" if inner.endswith("_bias") else "weight"
        fused = f"blk.{layer}.ffn_gate_up_exps.{kind}"
        if architecture.name == GEMMA4 if present is None else fused in present:
            return GgufGroup((name,), (fused,))
        stacks = tuple(f"blk.{layer}.{one}.{kind}" for one in ("ffn_gate_exps", "ffn_up_exps"))
        return GgufGroup((name,), stacks, "halves")
    module, _, kind = inner.rpartition(".")
    whole = _joined(config, architecture, layer, module, kind, present)
    if whole is not None:
        modules = _QKV if module in _QKV else _GATE_UP
        return GgufGroup(tuple(f"model.layers.{layer}.{one}.{kind}" for one in modules), (whole,), "joined")
    theirs = f"blk.{layer}.{_module(config, architecture, module)}.{kind}"
    if architecture.bare_feed_norm and module == "post_attention_layernorm":
        bare = theirs.removesuffix(".weight")
        theirs = bare if present is None or bare in present else theirs
    if module == "mlp.shared_expert_gate":
        return GgufGroup((name,), (theirs,), "row")
    if module == "conv.conv" and kind == "weight":
        return GgufGroup((name,), (theirs,), "flat")
    if module == "self_attn.kv_b_proj":
        return _latent(config, name, layer, theirs, present)
    if architecture.permuted and module in _QKV[:2]:
        heads = config.num_attention_heads if module == _QKV[0] else config.num_key_value_heads
        return GgufGroup((name,), (theirs,), "in_turns", heads)
    return GgufGroup((name,), (theirs,), _norm_how(config, module, kind))


def _norm_how(config: ModelConfig, module: str, kind: str) -> How:
    return "plus_one" if config.norm_plus_one and "norm" in module and kind == "weight" else "same"


def _joined(
    config: ModelConfig,
    architecture: GgufArchitecture,
    layer: str,
    module: str,
    kind: str,
    present: Container[str] | None,
) -> str | None:
    """The one tensor that holds a module together with others; None where it has its own."""
    if module in _QKV:
        first, joined, written = _QKV[0], "attn_qkv", architecture.joined_qkv
    elif module in _GATE_UP and config.gated_mlp:
        first, joined, written = _GATE_UP[0], "ffn_up", architecture.joined_gate_up
    else:
        return None
    whole = f"blk.{layer}.{joined}.{kind}"
    if present is None:
        return whole if written else None
    alone = f"blk.{layer}.{_MODULES[first]}.{kind}"
    return whole if whole in present and alone not in present and not architecture.permuted else None


def _module(config: ModelConfig, architecture: GgufArchitecture, module: str) -> str:
    if module == "post_attention_layernorm":
        return architecture.feed_norm if config.norm_placement == "before" else "post_attention_norm"
    return _MODULES[module]


def _latent(
    config: ModelConfig, name: str, layer: str, whole: str, present: Container[str] | None
) -> GgufGroup:
    """kv_b_proj: in two, or whole in files of before 2025-04."""
    assert config.latent is not None
    if present is not None and whole in present:
        return GgufGroup((name,), (whole,))
    parts = tuple(f"blk.{layer}.{one}.weight" for one in ("attn_k_b", "attn_v_b"))
    return GgufGroup((name,), parts, "latent", config.num_attention_heads, config.latent.qk_nope_head_dim)


def _delta(
    config: ModelConfig, name: str, layer: str, inner: str, present: Container[str] | None
) -> GgufGroup:
    assert config.delta is not None
    theirs, how = delta_tensors(config.delta, f"blk.{layer}", inner, present)
    if how == "same" or how == "flat":
        return GgufGroup((name,), theirs, how)
    return GgufGroup((name,), theirs, "layout", layout=DeltaLayout(how, config.delta))


def _mamba(config: ModelConfig, name: str, layer: str, inner: str) -> GgufGroup:
    assert config.mamba is not None
    theirs, how = mamba_tensor(f"blk.{layer}", inner)
    if how == "same" or how == "flat":
        return GgufGroup((name,), (theirs,), how)
    return GgufGroup((name,), (theirs,), "layout", layout=MambaLayout(how, config.mamba.num_groups))
