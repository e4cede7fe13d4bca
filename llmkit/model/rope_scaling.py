"""How rotary positions are stretched for longer texts: which ways there are, and their numbers. No torch.

In the normal form a scaling has `rope_type` and, under Hugging Face's names, every number it needs, defaults
filled in. Three numbers are there only where they were given, since another rule holds without them:
attention_factor, mscale and mscale_all_dim.

Source: transformers 5.24 modeling_rope_utils.py; 2309.00071 (YaRN), 2402.13753 (LongRoPE).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmkit.errors import ConfigError, at_place, nearest
from llmkit.formats.json_text import is_number

ORIGINAL = "original_max_position_embeddings"
"""Positions that the model was trained with before it was stretched."""
OWN_CONTEXT = "llmkit_context_length"
"""In config.json, a context beyond max_position_embeddings, where dynamic scaling begins in transformers."""
BESIDE_SCALING = ("rope_theta", "partial_rotary_factor")
"""What config.json may have in the same object, and is no part of a scaling."""
_IGNORED = ("rope_type", "type", "finetuned", *BESIDE_SCALING)
"""`finetuned` of YaRN's first models says how weights came about, and changes no number."""


@dataclass(frozen=True)
class RopeType:
    """A kind of scaling."""

    needed: tuple[str, ...]
    """Keys of the normal form."""
    optional: tuple[str, ...] = ()
    defaults: Mapping[str, Any] | None = None
    """What files may leave out, beside ORIGINAL and the factors that follow from the model's positions."""


ROPE_TYPES: Mapping[str, RopeType] = {
    "linear": RopeType(("factor",)),
    "dynamic": RopeType(("factor", ORIGINAL)),
    "yarn": RopeType(
        ("factor", ORIGINAL, "beta_fast", "beta_slow", "truncate"),
        ("attention_factor", "mscale", "mscale_all_dim"),
        {"beta_fast": 32.0, "beta_slow": 1.0, "truncate": True},
    ),
    "llama3": RopeType(("factor", "low_freq_factor", "high_freq_factor", ORIGINAL)),
    "longrope": RopeType(("short_factor", "long_factor", "factor", ORIGINAL), ("attention_factor",)),
}
_OTHER_NAMES = {"su": "longrope"}


def check_rope_scaling(scaling: Mapping[str, Any], *, rotary_dim: int) -> None:
    """Refuse a scaling that is not in the normal form, or cannot be.

    Args:
        scaling: `rope_type` and its numbers.
        rotary_dim: how many numbers of a head are rotated.

    Raises:
        ConfigError: a key is missing, unknown or impossible; it is named.
    """
    kind = _known_type(scaling.get("rope_type"))
    _check_values(kind, scaling)
    pairs = (rotary_dim + 1) // 2
    for name in ("short_factor", "long_factor"):
        if name in scaling and len(scaling[name]) != pairs:
            raise ConfigError(
                f"{name} has {len(scaling[name])} numbers, and the heads have {pairs} rotated pairs",
                hint="copy the list from the model's original config.json",
            )
    if kind == "dynamic" and rotary_dim <= 2:
        raise ConfigError(
            f"dynamic rope scaling needs more than one rotated pair (found rotary_dim {rotary_dim})",
            hint="use linear or yarn",
        )


def normalise_rope_scaling(
    settings: Mapping[str, Any], *, max_positions: int, original: int | None, source: str
) -> dict[str, Any] | None:
    """The normal form of what config.json has under rope_scaling or rope_parameters, or of a normal form.

    Args:
        settings: the object, of transformers 4 or 5.
        max_positions: the model's max_position_embeddings.
        original: original_max_position_embeddings at the top of config.json, as Phi-3 has it; it wins. Of
            dynamic scaling what a flag says: in files no other number than max_positions counts.
        source: file and key, for messages.

    Returns:
        None for positions that are not scaled.

    Raises:
        ConfigError: the type is unknown, or a key is missing, unknown or impossible; it is named.
    """
    with at_place(source, ConfigError):
        return _normal_form(settings, max_positions, original)


def attention_factor(scaling: Mapping[str, Any] | None, max_positions: int) -> float:
    """What cosines and sines are multiplied with.

    Args:
        scaling: in the normal form; a longrope's factor may be missing.
        max_positions: the model's max_position_embeddings, for that factor.
    """
    if scaling is None or scaling["rope_type"] not in ("yarn", "longrope"):
        return 1.0
    if scaling.get("attention_factor") is not None:
        return float(scaling["attention_factor"])
    factor = scaling.get("factor") or max_positions / scaling[ORIGINAL]
    if scaling["rope_type"] == "longrope":
        return 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(scaling[ORIGINAL]))
    over, under = scaling.get("mscale"), scaling.get("mscale_all_dim")
    return yarn_mscale(factor, over) / yarn_mscale(factor, under) if over and under else yarn_mscale(factor)


def depends_on_length(scaling: Mapping[str, Any] | None) -> bool:
    """Whether a position's angle changes with the length of its text."""
    return scaling is not None and scaling["rope_type"] in ("dynamic", "longrope")


def is_dynamic(scaling: Mapping[str, Any] | None) -> bool:
    """Whether the base grows with texts beyond the original positions."""
    return scaling is not None and scaling["rope_type"] == "dynamic"


def yarn_softmax_factor(scaling: Mapping[str, Any] | None) -> float:
    """What DeepSeek (2405.04434) multiplies scores with, beside head_dim ** -0.5."""
    if scaling is None or not scaling.get("mscale_all_dim"):
        return 1.0
    return yarn_mscale(scaling["factor"], scaling["mscale_all_dim"]) ** 2


def _normal_form(
    settings: Mapping[str, Any], max_positions: int, original: int | None
) -> dict[str, Any] | None:
    given = {name: value for name, value in settings.items() if value is not None}
    kind = given.get("rope_type", given.get("type", "default"))
    given = {name: value for name, value in given.items() if name not in _IGNORED}
    if kind == "default":
        _check_known("default", given)
        return None
    kind = _known_type(_OTHER_NAMES.get(kind, kind) if isinstance(kind, str) else kind)
    _check_known(kind, given)
    known = ROPE_TYPES[kind]
    if ORIGINAL in known.needed:
        if kind == "dynamic":
            given.pop(ORIGINAL, None)  # as transformers, which takes max_position_embeddings
        if original is not None:
            given[ORIGINAL] = original
        follows = kind == "longrope" or (kind == "yarn" and ORIGINAL in given)
        given.setdefault(ORIGINAL, max_positions)
        if follows and "factor" not in given:
            _check_value(ORIGINAL, given[ORIGINAL])
            given["factor"] = max_positions / given[ORIGINAL]
    for name in ("beta_fast", "beta_slow", "mscale", "mscale_all_dim"):
        if name in given and not given[name]:
            del given[name]  # 0 is none, as in transformers
    given = {**(known.defaults or {}), **given}
    _check_values(kind, given)
    in_order = [name for name in (*known.needed, *known.optional) if name in given]
    return {"rope_type": kind, **{name: _tidy(name, given[name]) for name in in_order}}


def _tidy(name: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [float(one) for one in value]
    return value if name in (ORIGINAL, "truncate") else float(value)


def _known_type(kind: object) -> str:
    if isinstance(kind, str) and kind in ROPE_TYPES:
        return kind
    guess = nearest(str(kind), ROPE_TYPES)
    raise ConfigError(
        f"rope_type {kind!r} is not supported (known: default, {', '.join(ROPE_TYPES)})",
        hint=f"did you mean {guess}?" if guess else "use a model with one of these",
    )


def _check_known(kind: str, names: Mapping[str, Any]) -> None:
    known = ROPE_TYPES.get(kind, RopeType(()))
    for name in names:
        if name not in (*known.needed, *known.optional):
            raise ConfigError(
                f"rope_type {kind} with {name} is not supported",
                hint="remove it only if the model's own code does not use it",
            )


def _check_values(kind: str, scaling: Mapping[str, Any]) -> None:
    known = ROPE_TYPES[kind]
    _check_known(kind, {name: value for name, value in scaling.items() if name != "rope_type"})
    for name in known.needed:
        if scaling.get(name) is None:
            raise ConfigError(
                f"rope_type {kind} lacks {name}", hint="copy it from the model's original config.json"
            )
    for name, value in scaling.items():
        if name != "rope_type":
            _check_value(name, value)
    for low, high in (("low_freq_factor", "high_freq_factor"), ("beta_slow", "beta_fast")):
        equal = low in scaling and scaling[low] == scaling[high]
        step = equal and kind == "llama3"  # nothing is blended, as in Llama 4
        if low in scaling and scaling[low] >= scaling[high] and not step:
            raise ConfigError(
                f"{low} ({scaling[low]}) is not below {high} ({scaling[high]})",
                hint="copy both from the model's original config.json",
            )


def _check_value(name: str, value: object) -> None:
    wanted, holds = _VALUES[name]
    if not holds(value):
        raise ConfigError(f"{name} is not {wanted} (found {value!r})", hint=f"change {name}")


def _is_positive(value: object) -> bool:
    return is_number(value) and 0 < value < math.inf


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and value >= 2


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_positive, value))


_POSITIVE = ("a number above 0", _is_positive)
_LIST = ("a list of numbers above 0", _is_list)
_VALUES: dict[str, tuple[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("factor", "attention_factor", "beta_fast", "beta_slow"), _POSITIVE),
    **dict.fromkeys(("low_freq_factor", "high_freq_factor"), _POSITIVE),
    **dict.fromkeys(("short_factor", "long_factor"), _LIST),
    **dict.fromkeys(("mscale", "mscale_all_dim"), _POSITIVE),
    "truncate": ("true or false", lambda value: isinstance(value, bool)),
    ORIGINAL: ("a whole number of at least 2", _is_whole),
}


def yarn_mscale(factor: float, weight: float = 1.0) -> float:
    """YaRN's growth of attention with the stretching."""
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0
