"""Where columns of matrices may be scaled so that the model stays what it is: the inverse goes into what
makes their inputs.

A norm's numbers are divided by it, or the rows of the matrix before: those of values, whose mixture a head's
output is, and those of ups, with which gates are multiplied. Nothing is added to files.

Shapes: C columns of the readers, H query heads, K key/value heads, E numbers of a head, F intermediate_size.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmkit.model.config import ModelConfig
from llmkit.model.norm import LayerNorm, RMSNorm

_ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_LATENT = ("self_attn.q_proj", "self_attn.q_a_proj", "self_attn.kv_a_proj_with_mqa")
_MLP = (
    *("mlp.gate_proj", "mlp.up_proj", "mlp.gate", "mlp.shared_expert.gate_proj", "mlp.shared_expert.up_proj"),
    "mlp.shared_expert_gate",
)
_EXPERTS, _UPS = "mlp.experts.gate_up_proj", "mlp.experts.up_proj"
_LINEAR_POWER = {"relu": 1.0, "relu2": 0.5}
"""Of a plain MLP's activations: what its ups are divided by, as a power of what comes out divided."""


@dataclass(frozen=True)
class Fold:
    """Matrices of a layer that read the same numbers, and what makes these."""

    readers: tuple[str, ...]
    """Parameters of the layer; a stack of experts as a whole, or one matrix of it: `name[e]`."""
    norm: str | None = None
    """The module that makes them, or else"""
    rows: str | None = None
    """the matrix, from its row `first` on."""
    first: int = 0
    heads: int = 1
    """H / K: heads that read the same values."""
    head_dim: int = 1
    """E, where that is more than one."""
    power: float = 1.0
    """What rows are divided by is this power of the scale."""

    def shared(self, magnitudes: Tensor) -> Tensor:
        """(C,) the mean over columns that must have one scale."""
        by_head = magnitudes.view(-1, self.heads, self.head_dim)
        return by_head.mean(1, keepdim=True).expand_as(by_head).reshape(-1)

    def settled(self, layer: nn.Module, scale: Tensor, dtype: torch.dtype) -> Tensor:
        """(C,) the scale that is exact once the norm is stored in a dtype; 1 where the norm gives nothing."""
        if self.norm is None:
            return scale
        factor = _factor(layer.get_submodule(self.norm))
        divided = _stored(layer.get_submodule(self.norm), factor / scale, dtype)
        fine = (factor != 0) & (divided != 0) & (factor / divided).isfinite()
        return torch.where(fine, factor / torch.where(fine, divided, 1), 1)

    @torch.no_grad()
    def apply(self, layer: nn.Module, scale: Tensor) -> None:
        """Multiply the readers' columns, divide what makes their inputs.

        Args:
            layer: in float32; it is changed.
            scale: (C,) above 0; one number for columns that `shared` joins.
        """
        parameters = dict(layer.named_parameters())
        for name in self.readers:
            part_of(parameters, name).mul_(scale)
        if self.norm is not None:
            module = layer.get_submodule(self.norm)
            parameters[f"{self.norm}.weight"].copy_(_factor(module) / scale - _plus(module))
            if f"{self.norm}.bias" in parameters:
                parameters[f"{self.norm}.bias"].div_(scale)
            return
        assert self.rows is not None
        own = scale.view(-1, self.heads, self.head_dim)[:, 0].reshape(-1) ** self.power
        part_of(parameters, self.rows)[self.first :].div_(own[:, None])
        stem, bracket, index = self.rows.partition("[")
        bias = stem.removesuffix(".weight") + (".bias" if stem.endswith(".weight") else "_bias")
        if bias in parameters:
            part_of(parameters, bias + bracket + index)[self.first :].div_(own)


def part_of(parameters: Mapping[str, Tensor], name: str) -> Tensor:
    """A parameter, or of a stack's `name[e]` the part."""
    stem, _, index = name.partition("[")
    return parameters[stem][int(index[:-1])] if index else parameters[stem]


def folds_of(layer: nn.Module, config: ModelConfig) -> list[Fold]:
    """All of a layer: a matrix whose rows are divided by one is a reader of a later one, if of any."""
    parameters = dict(layer.named_parameters())
    found = [*_after_rows(parameters, config), *_after_norms(config)]
    kept = [
        Fold(readers, fold.norm, fold.rows, fold.first, fold.heads, fold.head_dim, fold.power)
        for fold in found
        if (readers := tuple(name for name in fold.readers if name.partition("[")[0] in parameters))
    ]
    made = (*parameters, None)
    return [one for one in kept if one.readers and (one.norm and f"{one.norm}.weight") in made]


def _after_rows(parameters: Mapping[str, Tensor], config: ModelConfig) -> Iterator[Fold]:
    if config.latent is None and not config.value_norm:
        shared = config.num_attention_heads // config.num_key_value_heads
        yield Fold(
            ("self_attn.o_proj.weight",),
            rows="self_attn.v_proj.weight",
            heads=shared,
            head_dim=config.head_dim,
        )
    for module in ("mlp", "mlp.shared_expert"):
        power = 1.0 if f"{module}.gate_proj.weight" in parameters else _LINEAR_POWER.get(config.hidden_act)
        if power is not None:
            yield Fold((f"{module}.down_proj.weight",), rows=f"{module}.up_proj.weight", power=power)
    experts = config.experts
    if experts is None or experts.swiglu_limit or "mlp.experts.down_proj" not in parameters:
        return
    stack, first = (_EXPERTS, experts.intermediate_size) if config.gated_mlp else (_UPS, 0)
    power = 1.0 if config.gated_mlp else _LINEAR_POWER.get(config.hidden_act)
    for expert in range(experts.num_experts if power is not None else 0):
        reader = f"mlp.experts.down_proj[{expert}]"
        yield Fold((reader,), rows=f"{stack}[{expert}]", first=first, power=power or 1.0)


def _after_norms(config: ModelConfig) -> Iterator[Fold]:
    if config.latent is not None:
        yield Fold(("self_attn.q_b_proj.weight",), "self_attn.q_a_layernorm")
        yield Fold(("self_attn.kv_b_proj.weight",), "self_attn.kv_a_layernorm")
    attention = _matrices(_ATTENTION if config.latent is None else _LATENT)
    if config.has_both:
        attention = (*attention, "mamba.in_proj.weight")
    mlp = (*_matrices(_MLP), _EXPERTS, _UPS)
    if config.experts is not None and config.experts.beside_mlp:
        mlp = _matrices(_MLP[3:5])
        yield Fold((_EXPERTS,), "mlp.norm_read")
    if config.residual == "parallel_one_norm" or config.lone_mlps is not None:
        yield Fold((*attention, *mlp), "input_layernorm")
    elif config.residual == "parallel" or config.norm_placement == "before":
        yield Fold(attention, "input_layernorm")
        yield Fold(mlp, "post_attention_layernorm")
    elif config.norm_placement == "both":
        yield Fold(attention, "input_layernorm")
        yield Fold(mlp, "pre_feedforward_layernorm")


def _matrices(modules: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{module}.weight" for module in modules)


def _factor(norm: nn.Module) -> Tensor:
    """(C,) what a norm multiplies with."""
    assert isinstance(norm, RMSNorm | LayerNorm)
    return norm.factor.detach()


def _stored(norm: nn.Module, factor: Tensor, dtype: torch.dtype) -> Tensor:
    """The factor that a norm has when it is read again."""
    return (factor - _plus(norm)).to(dtype).float() + _plus(norm)


def _plus(norm: nn.Module) -> float:
    """What a norm adds to its weight."""
    assert isinstance(norm, RMSNorm | LayerNorm)
    return float(norm.plus_one)
