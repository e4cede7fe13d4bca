"""Gemma 4's language model in config.json: heads by the kind of layer, keys and values that layers share,
embeddings of each layer's own, experts beside the MLP.

Defaults are those of the class in transformers 5.24.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from llmkit.model.config_parts import ExpertsConfig, FullHeadsConfig, HeadSizes, OwnInputsConfig
from llmkit.model.families.experts import coefficient, training
from llmkit.model.families.family import BIAS, rms, sizes
from llmkit.model.families.parts import Fields, Fixed, Flag, Heads, Number, Part, SpecialIds
from llmkit.model.families.rope import partial_factor
from llmkit.model.families.scales import RootOfWidth
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import Kind, Kinds, every, layer_words, layers_of

_ROPE: Mapping[str, Mapping[str, Any]] = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    "full_attention": {
        **{"rope_type": "proportional", "rope_theta": 1_000_000.0},
        "partial_rotary_factor": 0.25,
    },
}
"""rope_parameters of the class."""


@dataclass(frozen=True)
class Gemma4Layers:
    """Which layers slide, the heads of those that do not, and whose keys and values the last ones read."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        kinds, window = gemma4_kinds(keys, found["num_hidden_layers"])
        heads = HeadSizes(found["num_key_value_heads"], found["head_dim"])
        of_layers = gemma4_heads(keys, kinds, heads, found["num_attention_heads"])
        by_kind = dict(pairs := {*zip(kinds, of_layers, strict=True)})
        if len(pairs) > len(by_kind):
            keys.wrong("per_layer_config", "the same for all layers that see everything, or a window")
        full, slides = by_kind["full"], by_kind.get("sliding", heads)
        settings = _rope_parameters(keys)
        angles, sliding = settings["full_attention"], settings["sliding_attention"]
        sliding_layers = layers_of(kinds, "sliding")
        return {
            **{"num_key_value_heads": slides.num_key_value_heads, "head_dim": slides.head_dim},
            **{"sliding_layers": sliding_layers, "sliding_window": window if sliding_layers else None},
            "full_heads": FullHeadsConfig(
                head_dim=full.head_dim,
                num_key_value_heads=full.num_key_value_heads,
                rotary_dim=_rotated(keys, angles, full.head_dim),
                values_are_keys=keys.flag("attention_k_eq_v"),
            ),
            "shared_kv_layers": found["num_hidden_layers"] - owners_of_keys(keys, kinds),
            **{"position": "rope", "rotary_dim": slides.head_dim},
            "rope_theta": _positive(keys, angles, "rope_theta", 1_000_000.0),
            "sliding_rope_theta": _positive(keys, sliding, "rope_theta", 10_000.0),
            "rope_scaling": _stretching(keys, angles),
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        full, scaling = fields["full_heads"], fields["rope_scaling"]
        if full is None:
            full = FullHeadsConfig(
                **{name: fields[name] for name in ("head_dim", "num_key_value_heads", "rotary_dim")}
            )
        angles = {
            **_ROPE["full_attention"],
            "rope_theta": fields["rope_theta"],
            "partial_rotary_factor": partial_factor(full.rotary_dim, full.head_dim),
            **({} if scaling is None else {"factor": scaling["factor"]}),
        }
        sliding = {**_ROPE["sliding_attention"], "rope_theta": fields["sliding_rope_theta"] or 10_000.0}
        layers, slides = fields["num_hidden_layers"], fields["sliding_layers"]
        return {
            "global_head_dim": full.head_dim,
            "num_global_key_value_heads": full.num_key_value_heads,
            "attention_k_eq_v": full.values_are_keys,
            "num_kv_shared_layers": fields["shared_kv_layers"],
            "sliding_window": fields["sliding_window"] or fields["max_position_embeddings"],
            "layer_types": layer_words(layers, slides, "sliding_attention"),
            "rope_parameters": {"full_attention": angles, "sliding_attention": sliding},
        }


@dataclass(frozen=True)
class OwnInputs:
    """The embeddings of each layer's own."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        width = keys.count("hidden_size_per_layer_input", 256)
        rows = keys.whole("vocab_size_per_layer_input", default=262_144)
        return {"own_inputs": OwnInputsConfig(vocab_size=rows, width=width) if width else None}

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        own = fields["own_inputs"]
        if own is None:
            return {"hidden_size_per_layer_input": 0}
        return {"hidden_size_per_layer_input": own.width, "vocab_size_per_layer_input": own.vocab_size}


@dataclass(frozen=True)
class Gemma4Experts:
    """Experts beside the MLP of every layer, or none."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        keys.known("output_router_logits")
        balance = coefficient(keys, "router_aux_loss_coef", 0.0)
        squares = coefficient(keys, "router_z_loss_coef", 0.0)
        if (told := gemma4_experts(keys)) is None:
            return {"experts": None}
        return {
            "experts": ExpertsConfig(
                num_experts=told.number,
                num_experts_per_tok=told.used,
                intermediate_size=told.width,
                layers=tuple(range(found["num_hidden_layers"])),
                norm_topk_prob=True,
                shared_intermediate_size=found["intermediate_size"],
                beside_mlp=True,
                router_aux_loss_coef=balance,
                router_z_loss_coef=squares,
            )
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        experts = fields["experts"]
        if experts is None:
            return {"enable_moe_block": False}
        return {
            "enable_moe_block": True,
            "num_experts": experts.num_experts,
            "top_k_experts": experts.num_experts_per_tok,
            "moe_intermediate_size": experts.intermediate_size,
            **training(experts),
        }


class ExpertSizes(NamedTuple):
    """Of a layer's experts."""

    number: int
    used: int
    """Of a token."""
    width: int


def gemma4_kinds(keys: Keys, layers: int) -> Kinds:
    """Which layers slide; the class sees to it that the last sees everything."""
    kinds, window = every(6, 512)(keys, layers)
    return (*kinds[:-1], "full"), window


def owners_of_keys(keys: Keys, kinds: Sequence[Kind], *, default_shared: int = 0) -> int:
    """How many layers, the first ones, have keys and values of their own, which the others read.

    Args:
        keys: of the file.
        kinds: of the layers.
        default_shared: how many others there are where the file does not say it.
    """
    owners = len(kinds) - keys.count("num_kv_shared_layers", default_shared)
    if owners < 1 or not set(kinds[owners:]) <= set(kinds[:owners]):
        keys.wrong("num_kv_shared_layers", "a number that leaves a layer of each kind with keys and values")
    return owners


def gemma4_heads(keys: Keys, kinds: Sequence[Kind], heads: HeadSizes, query_heads: int) -> list[HeadSizes]:
    """The heads of each layer: published files say those of layers that see everything, and transformers
    writes them layer by layer.

    Args:
        keys: of the file.
        kinds: of the layers.
        heads: where a layer has no others.
        query_heads: which share them.
    """
    head_dim, kv_heads = keys.optional("global_head_dim"), keys.optional("num_global_key_value_heads")
    one_matrix = keys.flag("attention_k_eq_v")
    of_full = {"head_dim": head_dim or 512, "num_key_value_heads": kv_heads if one_matrix else None}
    told, is_told = _told(keys), "per_layer_config" in keys.config
    found = []
    for layer, kind in enumerate(kinds):
        own = told.get(layer, {}) if is_told else of_full if kind == "full" else {}
        inner = Keys(own, f"{keys.source}: per_layer_config {layer}")
        width = inner.whole("head_dim", default=heads.head_dim)
        count = inner.whole("num_key_value_heads", default=heads.num_key_value_heads)
        if query_heads % count:
            inner.wrong("num_key_value_heads", f"a divisor of num_attention_heads, {query_heads}")
        found.append(HeadSizes(count, width))
    return found


def gemma4_experts(keys: Keys) -> ExpertSizes | None:
    """The experts of every layer; None where there are none."""
    if not keys.flag("enable_moe_block"):
        keys.known("num_experts", "top_k_experts", "moe_intermediate_size")
        return None
    count, used = keys.whole("num_experts"), keys.whole("top_k_experts")
    if used > count:
        keys.wrong("top_k_experts", f"at most the number of experts, {count}")
    return ExpertSizes(count, used, keys.whole("moe_intermediate_size"))


def _told(keys: Keys) -> dict[int, Mapping[str, object]]:
    """What per_layer_config says, by the number of the layer, which is filled up with zeros there: 05."""
    told = keys.object("per_layer_config")
    if not all(name.isdigit() and isinstance(one, Mapping) for name, one in told.items()):
        keys.wrong("per_layer_config", "an object of objects, by the numbers of layers")
    return {int(name): one for name, one in told.items()}


def _rope_parameters(keys: Keys) -> Mapping[str, Mapping[str, Any]]:
    """Of both kinds of layers."""
    settings = keys.object("rope_parameters") or _ROPE
    for kind, usual in _ROPE.items():
        one = settings.get(kind, usual)
        allowed = ("default", usual["rope_type"])
        if not isinstance(one, Mapping) or one.get("rope_type", "default") not in allowed:
            keys.wrong("rope_parameters", f"of rope_type {usual['rope_type']} for {kind}")
    return {kind: settings.get(kind, usual) for kind, usual in _ROPE.items()}


def _rotated(keys: Keys, settings: Mapping[str, Any], head_dim: int) -> int:
    """How many numbers of a head are rotated."""
    if settings.get("rope_type", "default") == "default":
        return head_dim
    return 2 * int(_positive(keys, settings, "partial_rotary_factor", 1.0) * head_dim // 2)


def _stretching(keys: Keys, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """How far positions are stretched, all alike; None where they are not."""
    factor = _positive(keys, settings, "factor", 1.0)
    return None if factor == 1.0 else {"rope_type": "linear", "factor": factor}


def _positive(keys: Keys, settings: Mapping[str, Any], name: str, default: float) -> float:
    found = Keys(settings, f"{keys.source}: rope_parameters").number(name, default=default)
    if not found or found < 0:
        keys.wrong("rope_parameters", f"with a number above 0 as {name}")
    return float(found)


GEMMA4: tuple[Part, ...] = (
    *sizes(131_072, "gelu_pytorch_tanh", ("hidden_activation", "hidden_act"), vocab_size=262_144),
    *(Heads(4, 256, heads=8), Gemma4Layers(), rms(), BIAS, RootOfWidth()),
    Number("final_logit_softcapping", "final_logit_softcapping", None),
    *(Flag(("wide_shared_mlps",), "use_double_wide_mlp"), OwnInputs(), Gemma4Experts(), SpecialIds(2, 1, 0)),
    Fixed({"norm_placement": "both", "qk_norm": "head", "value_norm": True, "layer_scalar": True}),
    Fixed({"attention_scale": 1.0}),
)
"""The whole family."""
