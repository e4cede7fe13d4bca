"""Rotary positions in config.json: the keys of transformers 4 and 5, one base or one a kind of layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmkit.model.families.parts import Fields
from llmkit.model.keys import Keys
from llmkit.model.rope_scaling import ORIGINAL, normalise_rope_scaling

_BOTH_KINDS = ("full_attention", "sliding_attention")
_QUERY_GROWTH = "llama_4_scaling_beta"
"""How much Ministral 3's queries grow beyond the original positions."""


@dataclass(frozen=True)
class Rope:
    """The base, the part of a head that is rotated, and the scaling for long texts.

    Written in both forms: `rope_theta` with `rope_scaling` for older readers, `rope_parameters` for newer.
    """

    theta: float = 10_000.0
    """What the class takes where the key is absent; the next as well."""
    partial: float = 1.0
    theta_key: str = "rope_theta"
    partial_key: str = "partial_rotary_factor"
    has_partial: bool = False
    """Whether the class reads the partial factor."""
    dim_key: str | None = None
    """Where published files say how many numbers of a head are rotated, in place of the factor."""
    scaling: Mapping[str, Any] | None = None
    """What the class takes where a file has neither object, or null."""
    original: int | None = None
    """original_max_position_embeddings of a class that has it at the top of config.json, where it wins over
    the scaling's own: Phi-3."""
    of_pictures: tuple[str, ...] = ()
    """Keys that turn positions in pictures only: in a text all of a token's positions are one."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        settings = rope_object(keys) or self.scaling or {}
        settings = {key: value for key, value in settings.items() if key not in self.of_pictures}
        theta = _number(keys, settings, "rope_theta", keys.number(self.theta_key, default=self.theta))
        partial = 1.0
        if self.has_partial:
            width = keys.optional(self.dim_key) if self.dim_key else None
            default = self.partial if width is None else partial_factor(width, found["head_dim"])
            given = keys.number(self.partial_key, default=default)
            partial = _number(keys, settings, "partial_rotary_factor", given)
        elif settings.get("partial_rotary_factor") not in (None, 1):
            keys.wrong(_object_name(keys), "without a partial_rotary_factor, which this family has not")
        return {
            "position": "rope",
            "rope_theta": float(theta),
            "rope_scaling": read_scaling(keys, settings, found, self.original),
            "rotary_dim": int(found["head_dim"] * partial),
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        theta, scaling = fields["rope_theta"], fields["rope_scaling"]
        settings = {"rope_theta": theta, **(scaling or {"rope_type": "default"})}
        keys: dict[str, Any] = {self.theta_key: theta, "rope_scaling": scaling}
        if self.has_partial:
            factor = partial_factor(fields["rotary_dim"], fields["head_dim"])
            keys[self.partial_key] = settings["partial_rotary_factor"] = factor
        if self.dim_key:
            keys[self.dim_key] = fields["rotary_dim"]
        if scaling is not None and self.has_partial:
            keys["rope_scaling"] = settings
        if self.original and scaling is not None and ORIGINAL in scaling:
            keys[ORIGINAL] = scaling[ORIGINAL]
        return keys | {"rope_parameters": settings}


@dataclass(frozen=True)
class AlphaRope(Rope):
    """HunYuan: a scaling called dynamic that has an alpha stretches the base once for all."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        settings, width = rope_object(keys), found["head_dim"]
        if settings.get("rope_type", settings.get("type")) != "dynamic" or not settings.get("alpha"):
            return super().read(keys, found)
        theta = _number(keys, settings, "rope_theta", keys.number(self.theta_key, default=self.theta))
        stretched = theta * _number(keys, settings, "alpha", None) ** (width / (width - 2))
        plain = {"position": "rope", "rope_scaling": None, "rotary_dim": width}
        return {**plain, "rope_theta": float(stretched)}


@dataclass(frozen=True)
class ScaledQueryRope(Rope):
    """Ministral 3: queries grow with each further `original_max_position_embeddings` positions."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        given = rope_object(keys) or {**(self.scaling or {}), _QUERY_GROWTH: 0.1}
        growth = _number(keys, given, _QUERY_GROWTH, None)
        if growth < 0:
            keys.wrong(_object_name(keys), f"with a number of at least 0 as {_QUERY_GROWTH}")
        theta = keys.number(self.theta_key, default=self.theta)
        plain = given.get("rope_type", given.get("type", "default")) in ("default", "linear")
        beside = (_QUERY_GROWTH, "max_position_embeddings", *((ORIGINAL,) if plain else ()))
        scaling = read_scaling(keys, {key: given[key] for key in given if key not in beside}, found)
        positions = given.get(ORIGINAL, (scaling or {}).get(ORIGINAL))
        if not isinstance(positions, int) or positions < 1:
            keys.wrong(_object_name(keys), f"with a whole number as {ORIGINAL}")
        return {
            "position": "rope",
            "rope_theta": float(_number(keys, given, "rope_theta", theta)),
            "rope_scaling": scaling,
            "rotary_dim": found["head_dim"],
            "query_growth": float(growth),
            "query_growth_positions": positions,
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        growth = {_QUERY_GROWTH: fields["query_growth"], ORIGINAL: fields["query_growth_positions"]}
        keys = super().write(fields)
        settings = {**keys["rope_parameters"], **growth}
        scaling = keys["rope_scaling"] and {**keys["rope_scaling"], **growth}
        return {**keys, "rope_parameters": settings, "rope_scaling": scaling}


@dataclass(frozen=True)
class RopeByKind:
    """One base for layers that see everything, which may be scaled, and one for sliding layers."""

    theta: float
    sliding_theta: float
    sliding_key: str | None = None
    """Where older files have the second base; None: it is the first once more."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        older, newer = keys.object("rope_scaling"), keys.object("rope_parameters")
        full = {**_inner(newer, "full_attention"), **older}
        flat = {} if any(name in newer for name in _BOTH_KINDS) else newer
        theta = _number(keys, full or flat, "rope_theta", keys.number("rope_theta", default=self.theta))
        default = self.sliding_theta if self.sliding_key else theta
        base = keys.number(self.sliding_key, default=default) if self.sliding_key else default
        sliding = _inner(newer, "sliding_attention")
        if sliding.get("rope_type", "default") != "default":
            keys.wrong("rope_parameters", "without scaling for sliding_attention, which is not supported")
        return {
            "position": "rope",
            "rope_theta": float(theta),
            "rope_scaling": read_scaling(keys, full or flat, found),
            "rotary_dim": found["head_dim"],
            "sliding_rope_theta": float(_number(keys, sliding, "rope_theta", base)),
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        theta, scaling = fields["rope_theta"], fields["rope_scaling"]
        sliding = theta if fields["sliding_rope_theta"] is None else fields["sliding_rope_theta"]
        keys: dict[str, Any] = {"rope_theta": theta, "rope_scaling": scaling}
        if self.sliding_key:
            keys[self.sliding_key] = sliding
        return keys | {
            "rope_parameters": {
                "full_attention": {"rope_theta": theta, **(scaling or {"rope_type": "default"})},
                "sliding_attention": {"rope_theta": sliding, "rope_type": "default"},
            }
        }


def rope_object(keys: Keys) -> Mapping[str, Any]:
    """What a file says of scaling: rope_scaling where it is set, else rope_parameters."""
    older, newer = keys.object("rope_scaling"), keys.object("rope_parameters")
    return older or newer


def read_scaling(
    keys: Keys, settings: Mapping[str, Any], found: Fields, original: int | None = None
) -> dict[str, Any] | None:
    """The scaling as ModelConfig has it; None where there is none.

    Args:
        keys: of the file.
        settings: its object.
        found: fields read before.
        original: the class's original_max_position_embeddings where the file's top has none.
    """
    original = keys.optional(ORIGINAL, original)
    is_dynamic = settings.get("rope_type", settings.get("type")) == "dynamic"
    return normalise_rope_scaling(
        settings,
        max_positions=found["max_position_embeddings"],
        original=None if is_dynamic else original,  # as transformers
        source=keys.source,
    )


def with_rope_scaling(config: Mapping[str, Any], scaling: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json with another scaling in place of its own; sliding layers keep theirs.

    Args:
        config: the decoded JSON object.
        scaling: `rope_type` and its numbers.
    """
    if isinstance(config.get("text_config"), Mapping):
        return {**config, "text_config": with_rope_scaling(config["text_config"], scaling)}
    old = config.get("rope_scaling") or config.get("rope_parameters") or {}
    rest = {key: value for key, value in config.items() if key not in ("rope_scaling", "rope_parameters")}
    if ORIGINAL in scaling:
        rest[ORIGINAL] = scaling[ORIGINAL]  # at the top it would win
    by_kind = {kind: old[kind] for kind in _BOTH_KINDS if kind in old}
    if by_kind:
        full = _kept(_inner(old, "full_attention"), scaling)
        return {**rest, "rope_parameters": {**by_kind, "full_attention": full}}
    return {**rest, "rope_parameters": _kept(old, scaling)}


def _kept(old: Mapping[str, Any], scaling: Mapping[str, Any]) -> dict[str, Any]:
    """What a scaling does not decide stays: the base, the rotated part of a head, how queries grow."""
    beside = (_QUERY_GROWTH, ORIGINAL) if _QUERY_GROWTH in old else ()
    kept = {key: old[key] for key in ("rope_theta", "partial_rotary_factor", *beside) if key in old}
    return {**kept, **scaling}


def partial_factor(rotary_dim: int, head_dim: int) -> float:
    """The factor of which int(head_dim * factor) is rotary_dim again."""
    factor = rotary_dim / head_dim
    return factor if int(head_dim * factor) == rotary_dim else (rotary_dim + 0.5) / head_dim


def _number(keys: Keys, settings: Mapping[str, Any], name: str, default: float | None) -> float:
    value = settings.get(name)
    if value is None:
        value = default
    if isinstance(value, bool) or not isinstance(value, int | float):
        keys.wrong(_object_name(keys), f"with a number as {name}")
    return value


def _object_name(keys: Keys) -> str:
    return "rope_parameters" if "rope_parameters" in keys.config else "rope_scaling"


def _inner(settings: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    inner = settings.get(kind)
    return inner if isinstance(inner, Mapping) else {}
