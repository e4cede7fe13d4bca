"""Rotary positions in GGUF files: the base, and how they are stretched for longer texts. No torch.

llama.cpp has keys for linear scaling and YaRN. Llama 3's is a tensor of the factors that it comes to,
LongRoPE's are two. What a scaling was made from is also kept whole under a key of our own, and taken from
there where it says the same as the rest.
Source: ggml-org/llama.cpp `conversion/base.py`, `conversion/llama.py`, `src/llama-context.cpp`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.errors import ConfigError
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.model.gguf.keys import GgufKeys, as_float32, shortest
from llmkit.model.rope_scaling import (
    ORIGINAL,
    attention_factor,
    check_rope_scaling,
    yarn_mscale,
    yarn_softmax_factor,
)

ROPE_FREQS, LONG_FACTORS, SHORT_FACTORS = "rope_freqs", "rope_factors_long", "rope_factors_short"
TABLES = tuple(f"{name}.weight" for name in (ROPE_FREQS, LONG_FACTORS, SHORT_FACTORS))
"""Tensors that are no weights but say how positions are stretched; (rotary_dim / 2,) float32."""
OWN_SCALING = "llmkit.rope_scaling"
"""Our own key: rope_scaling in its normal form (rope_scaling.py), as JSON."""
_LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, ORIGINAL: 8192}
"""What every Llama 3 and 4 has; their factor is the largest of the table."""
_HIGH_FREQS = (4.0, 1.0)
"""high_freq_factor of Llama 3, and of Llama 4."""
_CLOSE = 1e-5
_LATENT, _MISTRAL = "deepseek2", "mistral3"
_GROWTH, _GROWTH_POSITIONS = "attention.temperature_scale", "rope.scaling.original_context_length"

Scaling = dict[str, Any]
Tables = Mapping[str, Sequence[float]]


def rope_metadata(
    name: str, theta: float, scaling: Mapping[str, Any] | None, max_positions: int
) -> dict[str, MetadataValue]:
    """The keys of a base and a scaling; those of scalings that llama.cpp lacks are not among them.

    Args:
        name: of the architecture.
        theta: the base.
        scaling: in the normal form.
        max_positions: max_position_embeddings.
    """
    keys: dict[str, MetadataValue] = {f"{name}.rope.freq_base": Typed("f32", theta)}
    if scaling is None:
        return keys
    keys[OWN_SCALING] = json.dumps(dict(scaling))
    prefix = f"{name}.rope.scaling"
    kind = scaling["rope_type"]
    if kind in ("linear", "yarn", "longrope"):
        keys[f"{prefix}.type"] = kind
    if kind in ("linear", "yarn"):
        keys[f"{prefix}.factor"] = Typed("f32", scaling["factor"])
    if kind in ("yarn", "longrope"):
        keys[f"{prefix}.original_context_length"] = Typed("u32", scaling[ORIGINAL])
    if kind == "yarn":
        keys[f"{prefix}.yarn_beta_fast"] = Typed("f32", scaling["beta_fast"])
        keys[f"{prefix}.yarn_beta_slow"] = Typed("f32", scaling["beta_slow"])
    if kind == "yarn" and name == _LATENT:
        # a tenth of it, and of scores only: llama.cpp takes mscale to be mscale_all_dim
        keys[f"{prefix}.yarn_log_multiplier"] = Typed("f32", 0.1 * scaling.get("mscale_all_dim", 0.0))
    elif kind == "yarn" and name == _MISTRAL and scaling.get("mscale") == 1 and "mscale_all_dim" in scaling:
        keys[f"{prefix}.yarn_log_multiplier"] = Typed("f32", scaling["mscale_all_dim"])
    elif kind in ("yarn", "longrope"):
        # beside what llama.cpp multiplies with by itself
        factor = attention_factor(scaling, max_positions) / (
            yarn_mscale(scaling["factor"]) if kind == "yarn" else 1
        )
        keys[f"{prefix}.attn_factor"] = Typed("f32", factor)
    return keys


def rope_tables(scaling: Mapping[str, Any] | None, theta: float, rotary_dim: int) -> dict[str, list[float]]:
    """The tensors of a scaling, by name; none for most."""
    kind = None if scaling is None else scaling["rope_type"]
    if scaling is not None and kind == "llama3":
        return {f"{ROPE_FREQS}.weight": _llama3_factors(scaling, theta, rotary_dim)}
    if scaling is not None and kind == "longrope":
        return {
            f"{LONG_FACTORS}.weight": list(scaling["long_factor"]),
            f"{SHORT_FACTORS}.weight": list(scaling["short_factor"]),
        }
    return {}


def read_scaling(
    keys: GgufKeys, tables: Tables, *, theta: float, rotary_dim: int, max_positions: int
) -> Scaling | None:
    """The scaling of a file, in the normal form.

    Args:
        keys: of the file.
        tables: the values of those of TABLES that it has.
        theta: its base.
        rotary_dim: how many numbers of a head are rotated.
        max_positions: its context length.

    Raises:
        ConfigError: a kind that is not known, or a key that is missing or wrong.
    """
    found = _told(keys, tables, theta, rotary_dim, max_positions)
    own = _own(keys, rotary_dim)
    if own is not None and _same(own, found, tables, theta, rotary_dim, max_positions):
        return own
    return found


def growth_metadata(name: str, growth: float, positions: int) -> dict[str, MetadataValue]:
    """The keys of queries that grow."""
    return {
        f"{name}.{_GROWTH}": Typed("f32", growth),
        f"{name}.{_GROWTH_POSITIONS}": Typed("u32", positions),
    }


def read_growth(keys: GgufKeys, max_positions: int) -> dict[str, Any]:
    """Fields of ModelConfig of queries that grow; without its key they do not."""
    return {
        "query_growth": float(keys.number(_GROWTH, 0.0)),
        "query_growth_positions": keys.whole(_GROWTH_POSITIONS, max_positions),
    }


def same_scaling(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None, max_positions: int) -> bool:
    """Whether two scalings give the same positions and scores, up to float32."""
    a, b = (None if one and one["rope_type"] == "linear" and one["factor"] == 1 else one for one in (a, b))
    if a is None or b is None:
        return a is b
    numbers = {**a, **b}.keys() - {"rope_type", "attention_factor", "mscale", "mscale_all_dim"}
    return (
        a["rope_type"] == b["rope_type"]
        and all(_close(a.get(name), b.get(name)) for name in numbers)
        and _close(attention_factor(a, max_positions), attention_factor(b, max_positions))
        and _close(yarn_softmax_factor(a), yarn_softmax_factor(b))
    )


def _told(
    keys: GgufKeys, tables: Tables, theta: float, rotary_dim: int, max_positions: int
) -> Scaling | None:
    """What llama.cpp's own keys and tensors say."""
    kind = keys.word("rope.scaling.type", "none")
    if f"{LONG_FACTORS}.weight" in tables:
        kind = "longrope"
    elif f"{ROPE_FREQS}.weight" in tables:
        return _of_factors(tables[f"{ROPE_FREQS}.weight"], theta, rotary_dim, max_positions)
    factor = keys.number("rope.scaling.factor", keys.number("rope.scale_linear", 0.0))
    match kind:
        case "none" | "linear":
            return {"rope_type": "linear", "factor": float(factor)} if factor not in (0, 1) else None
        case "yarn":
            return _yarn(keys, factor)
        case "longrope" if f"{LONG_FACTORS}.weight" in tables:
            return _longrope(keys, tables, max_positions)
        case "longrope":
            return None  # of headers alone, whose tensors are not read
    keys.wrong("rope.scaling.type", "none, linear, yarn or longrope")


def _yarn(keys: GgufKeys, factor: float) -> Scaling:
    prefix = "rope.scaling"
    scaling: Scaling = {
        "rope_type": "yarn",
        "factor": float(factor) or float(keys.number(f"{prefix}.factor")),
        ORIGINAL: keys.whole(f"{prefix}.original_context_length"),
        "beta_fast": float(keys.number(f"{prefix}.yarn_beta_fast", 32.0)),
        "beta_slow": float(keys.number(f"{prefix}.yarn_beta_slow", 1.0)),
        "truncate": keys.architecture != "gpt-oss",
    }
    weight = keys.number(f"{prefix}.yarn_log_multiplier", 0.0)
    if keys.architecture == _LATENT:
        weight = shortest(as_float32(weight * 10))
        return scaling | ({"mscale": weight, "mscale_all_dim": weight} if weight else {})
    if keys.architecture == _MISTRAL and weight:
        return scaling | {"mscale": 1.0, "mscale_all_dim": float(weight)}
    extra = keys.number(f"{prefix}.attn_factor", 1.0)
    grown = yarn_mscale(scaling["factor"]) / yarn_mscale(scaling["factor"], weight or 0.0)
    return scaling if extra == 1 and not weight else scaling | {"attention_factor": shortest(extra * grown)}


def _longrope(keys: GgufKeys, tables: Tables, max_positions: int) -> Scaling:
    original = keys.whole("rope.scaling.original_context_length")
    scaling: Scaling = {
        "rope_type": "longrope",
        "short_factor": [float(shortest(one)) for one in tables[f"{SHORT_FACTORS}.weight"]],
        "long_factor": [float(shortest(one)) for one in tables[f"{LONG_FACTORS}.weight"]],
        "factor": max_positions / original,
        ORIGINAL: original,
    }
    given = float(keys.number("rope.scaling.attn_factor", 1.0))
    return (
        scaling
        if _close(given, attention_factor(scaling, max_positions))
        else scaling | {"attention_factor": given}
    )


def _of_factors(
    factors: Sequence[float], theta: float, rotary_dim: int, max_positions: int
) -> Scaling | None:
    """Llama 3's scaling where its numbers are the usual ones, else factors like LongRoPE's."""
    if all(one == 1 for one in factors):
        return None
    for high in _HIGH_FREQS:
        usual = {**_LLAMA3, "factor": float(shortest(max(factors))), "high_freq_factor": high}
        if _all_close(_llama3_factors(usual, theta, rotary_dim), factors):
            return usual
    every = [float(shortest(one)) for one in factors]
    return {
        "rope_type": "longrope",
        "short_factor": every,
        "long_factor": every,
        "factor": 1.0,
        ORIGINAL: max_positions,
        "attention_factor": 1.0,
    }


def _own(keys: GgufKeys, rotary_dim: int) -> Scaling | None:
    """What our own key says; None where there is none, or none that can be."""
    text = keys.metadata.get(OWN_SCALING)
    try:
        own = json.loads(text) if isinstance(text, str) else None
        if not isinstance(own, dict):
            return None
        check_rope_scaling(own, rotary_dim=rotary_dim)
    except (ValueError, ConfigError):
        return None
    return own


def _same(
    own: Scaling, found: Scaling | None, tables: Tables, theta: float, rotary_dim: int, max_positions: int
) -> bool:
    """Whether our own key agrees with llama.cpp's; how YaRN rounds is for our key alone to say."""
    if own["rope_type"] == "llama3":
        table = tables.get(f"{ROPE_FREQS}.weight", ())
        return _all_close(_llama3_factors(own, theta, rotary_dim), table)
    if found is not None and "truncate" in own:
        found = {**found, "truncate": own["truncate"]}
    return same_scaling(own, found, max_positions)


def _llama3_factors(scaling: Mapping[str, Any], theta: float, rotary_dim: int) -> list[float]:
    """What each pair's frequency is divided by."""
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    found = []
    for pair in range(0, rotary_dim, 2):
        turns = scaling[ORIGINAL] / (2 * math.pi * theta ** (pair / rotary_dim))
        keep = float(turns > low) if low == high else min(1.0, max(0.0, (turns - low) / (high - low)))
        found.append(1 / ((1 - keep) / factor + keep))
    return found


def _all_close(a: Sequence[float], b: Sequence[float]) -> bool:
    return len(a) == len(b) and all(map(_close, a, b))


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return _all_close(a, b)
    if isinstance(a, bool) or not (isinstance(a, int | float) and isinstance(b, int | float)):
        return a == b
    return math.isclose(a, b, rel_tol=_CLOSE)
