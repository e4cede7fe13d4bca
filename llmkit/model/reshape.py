"""A model's shape with some sizes changed, and what it derives from them."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from llmkit.errors import ConfigError, nearest
from llmkit.model.config import ModelConfig
from llmkit.model.config_checks import check_whole
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.config_states import Mamba2Config
from llmkit.model.families.table import FAMILIES

_Kind = TypeVar("_Kind")
EXPERT_FIELDS = {
    "num_experts": "num_experts",
    "num_experts_per_tok": "num_experts_per_tok",
    "moe_intermediate_size": "intermediate_size",
}
"""Keys of config.json that are fields of ExpertsConfig."""


def reshape(config: ModelConfig, overrides: Mapping[str, Any]) -> ModelConfig:
    """A config with some fields changed.

    head_dim follows hidden_size and num_attention_heads where the heads share hidden_size among them, and
    num_key_value_heads follows num_attention_heads where there are no groups, unless they are given too. With
    more or fewer layers, those that slide, without positions, with experts or with a state go on as they did.
    Shared experts stay as many times as wide as the others, and Mamba-2 as hidden_size. In another family
    what only the old one has is left, and what all of the new one have is taken on.

    Args:
        config: the shape to begin with.
        overrides: fields of ModelConfig, or keys of EXPERT_FIELDS.

    Raises:
        ConfigError: no such field, the model has no experts, or the result is no possible model.
    """
    names = [*(one.name for one in fields(config)), *EXPERT_FIELDS]
    for key in overrides:
        if key not in names:
            guess = nearest(key, names)
            raise ConfigError(
                f"a model has no field {key!r}", hint=f"did you mean {guess}?" if guess else ", ".join(names)
            )
    for key in {"num_key_value_heads", "head_dim"} & overrides.keys():
        check_whole(key, overrides[key])  # ModelConfig would take 0 for not given
    derived = _in_family(config.model_type, str(overrides.get("model_type", config.model_type)))
    if {"hidden_size", "num_attention_heads"} & overrides.keys():
        if config.head_dim * config.num_attention_heads == config.hidden_size:
            derived["head_dim"] = 0  # ModelConfig works it out again
        if config.num_key_value_heads == config.num_attention_heads:
            derived["num_key_value_heads"] = 0
    if {"hidden_size", "num_attention_heads", "head_dim"} & overrides.keys() and config.position == "rope":
        derived["rotary_dim"] = _rotary_dim(config, {**derived, **overrides})
    if config.mamba is not None and "hidden_size" in overrides:
        derived["mamba"] = _with_width(config.mamba, config.hidden_size, overrides["hidden_size"])
    if (layers := overrides.get("num_hidden_layers", config.num_hidden_layers)) != config.num_hidden_layers:
        derived |= _with_layers(config, layers, derived.get("mamba", config.mamba))
    if experts := {key: value for key, value in overrides.items() if key in EXPERT_FIELDS}:
        derived["experts"] = _with_experts(derived.get("experts", config.experts), experts)
    others = {key: value for key, value in overrides.items() if key not in EXPERT_FIELDS}
    return replace(config, **{**derived, **others})


def field_of(config: ModelConfig, key: str) -> Any:
    """What a config has under a name that `reshape` takes; None for one of experts where it has none."""
    if key not in EXPERT_FIELDS:
        return getattr(config, key)
    return None if config.experts is None else getattr(config.experts, EXPERT_FIELDS[key])


def _in_family(old: str, new: str) -> dict[str, Any]:
    """Fields that a model gets by its family alone, where that is another one."""
    if new == old or new not in FAMILIES:
        return {}
    usual = {one.name: one.default for one in fields(ModelConfig)}
    left = {key: usual[key] for key in FAMILIES[old].fixed}
    return left | FAMILIES[new].fixed


def _with_experts(experts: ExpertsConfig | None, changes: Mapping[str, Any]) -> ExpertsConfig:
    if experts is None:
        key, value = next(iter(changes.items()))
        raise ConfigError(
            f"{key} {value}: the model has no experts",
            hint="begin with a mixture: --preset tiny-moe, which takes another family and number too",
        )
    new = {EXPERT_FIELDS[key]: value for key, value in changes.items()}
    width = new.get("intermediate_size", experts.intermediate_size)
    shared = experts.shared_intermediate_size * width // experts.intermediate_size
    return replace(experts, shared_intermediate_size=shared, **new)


def _rotary_dim(config: ModelConfig, changes: Mapping[str, Any]) -> int:
    """The same share of the new heads; 0 for all."""
    if config.rotary_dim == config.head_dim:
        return 0
    width = changes.get("hidden_size", config.hidden_size)
    shared = width // changes.get("num_attention_heads", config.num_attention_heads)
    return config.rotary_dim * (changes.get("head_dim", config.head_dim) or shared) // config.head_dim


def _with_width(mamba: Mamba2Config, old: int, new: int) -> Mamba2Config:
    """Mamba-2 for another hidden_size: more heads or fewer where that comes out even, or else wider ones."""
    width = mamba.width * new // old
    heads = width // mamba.head_dim
    if heads * mamba.head_dim == width and heads and heads % mamba.num_groups == 0:
        return replace(mamba, num_heads=heads)
    return replace(mamba, head_dim=max(1, width // mamba.num_heads))


def _with_layers(config: ModelConfig, count: int, mamba: Mamba2Config | None) -> dict[str, Any]:
    """Fields that say which layers are of a kind, for another number of layers; `mamba` of the new width."""
    fields: dict[str, Any] = {
        name: _continued(getattr(config, name), config.num_hidden_layers, count)
        for name in ("sliding_layers", "no_rope_layers")
    }
    if config.experts is not None:
        layers = _continued(config.experts.layers, config.num_hidden_layers, count)
        fields["experts"] = replace(config.experts, layers=layers)
    states = _continued(config.state_layers, config.num_hidden_layers, count)
    if (mlps := config.lone_mlps) is not None:  # together: no layer is to be of two kinds
        sparse = () if config.experts is None else config.experts.layers
        of_kinds = config.state_layers, mlps, sparse
        kinds = [tuple(layer in one for one in of_kinds) for layer in range(config.num_hidden_layers)]
        after = zip(*_go_on(kinds, count), strict=True)
        states, fields["lone_mlps"], sparse = (_where(flags) for flags in after)
        if config.experts is not None:  # config.json says nothing of them where no layer has any
            fields["experts"] = replace(config.experts, layers=sparse) if sparse else None
    for name, part in (("delta", config.delta), ("short_conv", config.short_conv)):
        if part is not None:
            fields[name] = replace(part, layers=states)
    if mamba is not None:  # config.json says nothing of it where no layer has it
        fields["mamba"] = replace(mamba, layers=states) if states else None
    return fields


def _continued(layers: tuple[int, ...], count: int, wanted: int) -> tuple[int, ...]:
    """Layers of a kind among `count`, cut off or gone on with."""
    return _where(_go_on([layer in layers for layer in range(count)], wanted))


def _where(flags: Iterable[bool]) -> tuple[int, ...]:
    return tuple(layer for layer, is_one in enumerate(flags) if is_one)


def _go_on(kinds: list[_Kind], wanted: int) -> list[_Kind]:
    """What each layer is, cut off or gone on with by the shortest period that the second half of them has."""
    count, kinds = len(kinds), [*kinds]
    period = next(
        period
        for period in range(1, count + 1)
        if all(kinds[layer] == kinds[layer - period] for layer in range(max(period, count // 2), count))
    )
    while len(kinds) < wanted:
        kinds.append(kinds[-period])
    return kinds[:wanted]
