"""Rotary positions stretched in every way, as fields of a config."""

from types import SimpleNamespace
from typing import Any

LLAMA31: dict[str, Any] = {
    **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "original_max_position_embeddings": 8192,
}
YARN: dict[str, Any] = {
    **{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
    **{"beta_fast": 32.0, "beta_slow": 1.0, "truncate": True},
}
DYNAMIC: dict[str, Any] = {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 4096}


def _longrope(pairs: int, original: int, **others: Any) -> dict[str, Any]:
    return {
        **{"rope_type": "longrope", "original_max_position_embeddings": original, "factor": 32.0},
        "short_factor": [1.0 + pair / 50 for pair in range(pairs)],
        "long_factor": [1.0 + pair / 3 for pair in range(pairs)],
        **others,
    }


SCALINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "linear": {"rope_scaling": {"rope_type": "linear", "factor": 2.5}},
    "llama3": {"rope_theta": 5e5, "rope_scaling": LLAMA31, "max_position_embeddings": 131_072},
    "llama4": {"rope_theta": 5e5, "rope_scaling": {**LLAMA31, "factor": 16.0, "high_freq_factor": 1.0}},
    "llama3.2": {"rope_theta": 5e5, "rope_scaling": {**LLAMA31, "factor": 32.0}},
    "dynamic": {"rope_scaling": DYNAMIC, "max_position_embeddings": 4096},
    "dynamic of 2.7": {"rope_scaling": {**DYNAMIC, "factor": 2.7}, "max_position_embeddings": 4096},
    "yarn": {"rope_theta": 1e6, "rope_scaling": YARN, "max_position_embeddings": 131_072},
    "yarn of gpt-oss": {
        "rope_theta": 150_000.0,
        "rope_scaling": {**YARN, "factor": 32.0, "original_max_position_embeddings": 4096, "truncate": False},
    },
    "yarn of deepseek": {
        "rope_scaling": {**YARN, "factor": 40.0, "beta_fast": 16.0, "mscale": 1.0, "mscale_all_dim": 0.7}
    },
    "yarn with its factor": {"rope_scaling": {**YARN, "attention_factor": 1.25}},
    "longrope": {"rope_scaling": _longrope, "max_position_embeddings": 131_072},
}
"""Fields of a config; longrope's scaling is made for the number of pairs."""


def scaling_fields(kind: str, rotary_dim: int, original: int = 4096) -> dict[str, Any]:
    fields = dict(SCALINGS[kind])
    if kind == "longrope":
        fields["rope_scaling"] = _longrope(rotary_dim // 2, original)
    return fields


def positions_of(**fields: Any) -> Any:
    """What Rope reads of a model, of any family: parts of heads and two bases are not for every one."""
    plain = {"rope_theta": 10_000.0, "rope_scaling": None, "max_position_embeddings": 64}
    return SimpleNamespace(**{**plain, "sliding_rope_theta": None, "full_heads": None, **fields})
