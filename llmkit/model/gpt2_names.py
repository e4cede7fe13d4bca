"""GPT-2's tensor names and layouts, translated as a state dict leaves or enters the model.

On disk q, k and v are one matrix, and every projection of a block is stored as (in, out): `Conv1D` instead of
`Linear`. In memory the model has the llama family's parts, so the rest of llmkit knows one tree of names.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from llmkit.model.config import ModelConfig
from llmkit.model.positions import sinusoid_table

_EMBEDDING, _POSITIONS = "model.embed_tokens.weight", "model.embed_positions.weight"
_TOP = {
    _EMBEDDING: "transformer.wte.weight",
    _POSITIONS: "transformer.wpe.weight",
    "model.norm.weight": "transformer.ln_f.weight",
    "model.norm.bias": "transformer.ln_f.bias",
    "lm_head.weight": "lm_head.weight",
}
_NORMS = {"input_layernorm": "ln_1", "post_attention_layernorm": "ln_2"}
_PROJECTIONS = {
    "self_attn.o_proj": "attn.c_proj",
    "mlp.up_proj": "mlp.c_fc",
    "mlp.down_proj": "mlp.c_proj",
}
_QKV = ("q_proj", "k_proj", "v_proj")


def use_gpt2_names(model: nn.Module, config: ModelConfig) -> None:
    """Make `model.state_dict()` and `model.load_state_dict()` speak GPT-2's names."""

    def leave(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: dict[str, Any]) -> None:
        ours = {name: state.pop(name) for name in list(state) if name.startswith(prefix)}
        if config.position == "sinusoidal":
            table = sinusoid_table(config.max_position_embeddings, config.hidden_size)
            ours[prefix + _POSITIONS] = table.to(ours[prefix + _EMBEDDING].dtype)
        theirs = to_gpt2({name[len(prefix) :]: tensor for name, tensor in ours.items()})
        state.update({prefix + name: tensor for name, tensor in theirs.items()})

    def enter(
        module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: dict[str, Any], *rest: Any
    ) -> None:
        theirs = {name: state.pop(name) for name in list(state) if name.startswith(prefix)}
        ours = from_gpt2({name[len(prefix) :]: tensor for name, tensor in theirs.items()})
        if config.position == "sinusoidal":
            ours.pop(_POSITIONS, None)
        state.update({prefix + name: tensor for name, tensor in ours.items()})

    model.register_state_dict_post_hook(leave)  # type: ignore[no-untyped-call]
    model.register_load_state_dict_pre_hook(enter)  # type: ignore[no-untyped-call]


def to_gpt2(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the llama family's names as GPT-2 stores it; an unknown name is kept as it is."""
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name in _TOP:
            result[_TOP[name]] = tensor
            continue
        words = name.split(".", 3)
        part, _, kind = words[-1].rpartition(".")
        block = f"transformer.h.{words[2]}" if len(words) == 4 else ""
        if part in _NORMS:
            result[f"{block}.{_NORMS[part]}.{kind}"] = tensor
        elif part in _PROJECTIONS:
            result[f"{block}.{_PROJECTIONS[part]}.{kind}"] = (
                tensor.t().contiguous() if kind == "weight" else tensor
            )
        elif part == "self_attn.q_proj":
            three = [tensors[name.replace("q_proj", other)] for other in _QKV]
            fused = torch.cat(three)
            result[f"{block}.attn.c_attn.{kind}"] = fused.t().contiguous() if kind == "weight" else fused
        elif part not in ("self_attn.k_proj", "self_attn.v_proj"):  # these two went with q_proj
            result[name] = tensor
    return result


def from_gpt2(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """GPT-2's stored tensors under the llama family's names; a name that is not GPT-2's is kept as it is."""
    top = {theirs: ours for ours, theirs in _TOP.items()}
    parts = {theirs: ours for ours, theirs in (_NORMS | _PROJECTIONS).items()}
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name in top:
            result[top[name]] = tensor
            continue
        words = name.split(".", 3)
        part, _, kind = words[-1].rpartition(".")
        if len(words) == 4 and part == "attn.c_attn":
            stored = tensor.t() if kind == "weight" else tensor
            for projection, piece in zip(_QKV, stored.chunk(3), strict=True):
                result[f"model.layers.{words[2]}.self_attn.{projection}.{kind}"] = piece.contiguous()
        elif len(words) == 4 and part in parts:
            turned = part not in _NORMS.values() and kind == "weight"
            result[f"model.layers.{words[2]}.{parts[part]}.{kind}"] = (
                tensor.t().contiguous() if turned else tensor
            )
        else:
            result[name] = tensor
    return result
