"""One form for what transformers 4 and 5 write into config.json under different keys.

    4.x                                                  5.x
    torch_dtype                                          dtype
    rope_theta, rope_scaling {type or rope_type, ...}    rope_parameters {rope_type, rope_theta, ...}
    partial_rotary_factor                                rope_parameters.partial_rotary_factor
    original_max_position_embeddings                     rope_parameters.original_max_position_embeddings
    rope_local_base_freq (Gemma 3)                       rope_parameters.sliding_attention.rope_theta

A file may have both forms at once. Where they agree they become one; where they do not, the older key stays
beside the newer and shows as a difference. Source: transformers 5.23, `modeling_rope_utils.py`.
"""

from collections.abc import Mapping
from typing import Any

DTYPES = ("torch_dtype", "dtype")
ROPE_SCALING, ROPE_PARAMETERS, LOCAL = "rope_scaling", "rope_parameters", "rope_local_base_freq"
_INTO_ROPE = ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings")
ROPE_KEYS = (ROPE_SCALING, ROPE_PARAMETERS, LOCAL, *_INTO_ROPE)
_FULL, _SLIDING = "full_attention", "sliding_attention"
_OLD_WORDS = {"su": "longrope"}


def one_form(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json with `dtype` and `rope_parameters`, whichever transformers wrote it."""
    result = dict(config)
    _fold_dtype(result)
    _fold_rope(result)
    if isinstance(result.get("text_config"), dict):
        result["text_config"] = one_form(result["text_config"])
    return result


def other_form(config: Mapping[str, Any], than: Mapping[str, Any]) -> list[str]:
    """The keys by which a config says what the other one says by other keys; those of a text model too."""
    found = [
        key
        for group in (DTYPES, ROPE_KEYS)
        for key in group
        if key in config and key not in than and any(other in than for other in group)
    ]
    inner, other = config.get("text_config"), than.get("text_config")
    if isinstance(inner, dict) and isinstance(other, dict):
        found += [f"text_config.{key}" for key in other_form(inner, other)]
    return found


def _fold_dtype(config: dict[str, Any]) -> None:
    words = {str(config[key]).removeprefix("torch.") for key in DTYPES if config.get(key) is not None}
    if len(words) == 1:
        for key in DTYPES:
            config.pop(key, None)
        config["dtype"] = words.pop()


def _fold_rope(config: dict[str, Any]) -> None:
    new, old = config.get(ROPE_PARAMETERS), config.get(ROPE_SCALING)
    if not isinstance(new, dict) and not isinstance(old, dict) and "rope_theta" not in config:
        return
    parameters = dict(new) if isinstance(new, dict) else {}
    nested = any(isinstance(value, dict) for value in parameters.values())
    if nested or LOCAL in config:
        layers = parameters if nested else {_FULL: parameters, _SLIDING: {}}
        result = {kind: _plain(one) for kind, one in layers.items() if isinstance(one, dict)}
        result |= {kind: one for kind, one in layers.items() if not isinstance(one, dict)}
        full, sliding = result.setdefault(_FULL, {}), result.setdefault(_SLIDING, {})
        _move(config, LOCAL, sliding, "rope_theta")
    else:
        result = full = _plain(parameters)
    if isinstance(old, dict) and _agrees(_plain(old), full):
        full |= _plain(old)
        del config[ROPE_SCALING]
    elif old is None:
        config.pop(ROPE_SCALING, None)
    for key in _INTO_ROPE:
        _move(config, key, full, key)
    for one in (full, sliding) if result is not full else (full,):
        one.setdefault("rope_type", "default")
    config[ROPE_PARAMETERS] = result


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Scaling with its kind under `rope_type`, by its newer word."""
    result = dict(parameters)
    kind = result.pop("type", None)
    if kind is not None:
        result.setdefault("rope_type", kind)
    if "rope_type" in result:
        result["rope_type"] = _OLD_WORDS.get(result["rope_type"], result["rope_type"])
    return result


def _agrees(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return all(key not in new or new[key] == value for key, value in old.items())


def _move(config: dict[str, Any], key: str, into: dict[str, Any], name: str) -> None:
    """Move a key of the config among the parameters, unless it is there with another value."""
    if config.get(key) is not None and into.get(name, config[key]) == config[key]:
        into[name] = config.pop(key)
