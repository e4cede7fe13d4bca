"""A longer context for a model that is there: what `--rope-scaling` says, put into config.json. No torch."""

from collections.abc import Mapping
from typing import Any

import msgspec

from llmkit.errors import UsageError, nearest
from llmkit.model.config import ModelConfig
from llmkit.model.families.rope import with_rope_scaling
from llmkit.model.rope_scaling import (
    BESIDE_SCALING,
    ORIGINAL,
    OWN_CONTEXT,
    is_dynamic,
    normalise_rope_scaling,
)

_FLAG_DEFAULTS: dict[str, dict[str, float]] = {
    "linear": {},
    "dynamic": {},
    "yarn": {},
    "llama3": {"low_freq_factor": 1.0, "high_freq_factor": 4.0},  # Llama 3.1's
}
_FLAG_HINT = "--rope-scaling yarn:4, linear:2, dynamic:2, llama3:8, none, or a JSON object as in config.json"


def parse_rope_scaling(text: str, *, max_positions: int) -> dict[str, Any]:
    """The scaling that a flag asks for: `yarn:4`, a JSON object as in config.json, or `none`.

    Args:
        text: what was typed.
        max_positions: how many positions the model was trained with, unless the object says so.

    Returns:
        The normal form; `{"rope_type": "default"}` for none.

    Raises:
        UsageError: it cannot be read, or a number is missing, unknown or impossible.
    """
    if text == "none":
        return {"rope_type": "default"}
    if text.lstrip().startswith("{"):
        settings = _from_json(text)
    else:
        kind, _, number = text.partition(":")
        if kind == "longrope":
            raise UsageError(
                f"--rope-scaling {text}: longrope has a factor for each pair, not one",
                hint="give a JSON object with short_factor, long_factor and " + ORIGINAL,
            )
        if kind not in _FLAG_DEFAULTS:
            guess = nearest(kind, [*_FLAG_DEFAULTS, "none"])
            raise UsageError(
                f"--rope-scaling {text}: unknown type {kind!r}",
                hint=f"did you mean {guess}?" if guess else _FLAG_HINT,
            )
        settings = {"rope_type": kind, "factor": _number(text, number), **_FLAG_DEFAULTS[kind]}
    found = normalise_rope_scaling(
        settings, max_positions=max_positions, original=settings.get(ORIGINAL), source="--rope-scaling"
    )
    return found or {"rope_type": "default"}


def original_positions(config: ModelConfig) -> int:
    """How many positions the model had before it was stretched, if its scaling says so; else those it has."""
    positions: int = (config.rope_scaling or {}).get(ORIGINAL, config.max_position_embeddings)
    return positions


def extend_context(
    config: Mapping[str, Any], scaling: Mapping[str, Any], source: str = "config.json"
) -> dict[str, Any]:
    """The config.json of the same model with this scaling in place of its own, and the longer context.

    max_position_embeddings becomes factor times the original positions, unless it is more already; with
    dynamic scaling OWN_CONTEXT does.

    Args:
        config: the decoded JSON object.
        scaling: from `parse_rope_scaling`.
        source: where the config came from, for messages.

    Raises:
        UsageError: the model has no rotary positions.
        ConfigError: the config is not usable as it is.
    """
    model = ModelConfig.from_hf(config, source)
    if model.position != "rope":
        raise UsageError(
            f"{source}: {model.position} positions cannot be scaled", hint="leave --rope-scaling out"
        )
    original = scaling.get(ORIGINAL, original_positions(model))
    positions = max(model.max_position_embeddings, int(scaling.get("factor", 1.0) * original))
    said = {"max_position_embeddings": positions}
    if is_dynamic(scaling):
        said = {"max_position_embeddings": original, OWN_CONTEXT: positions}
    return _with_positions(with_rope_scaling(config, scaling), original, said)


def _with_positions(config: dict[str, Any], original: int, said: Mapping[str, int]) -> dict[str, Any]:
    if isinstance(config.get("text_config"), Mapping):
        return {**config, "text_config": _with_positions(config["text_config"], original, said)}
    at_top = {ORIGINAL: original} if ORIGINAL in config else {}  # it wins there, as in Phi-3
    rest = {key: value for key, value in config.items() if key != OWN_CONTEXT}
    return {**rest, **at_top, **said}


def _from_json(text: str) -> dict[str, Any]:
    try:
        settings = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"--rope-scaling: not JSON ({error})", hint=_FLAG_HINT) from None
    assert isinstance(settings, dict)  # it starts with a brace
    beside = [name for name in BESIDE_SCALING if name in settings]
    if beside:
        raise UsageError(
            f"--rope-scaling: {beside[0]} is the model's own and cannot be set here",
            hint=f"leave {beside[0]} out, or change the model's config.json",
        )
    return settings


def _number(text: str, number: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise UsageError(
            f"--rope-scaling {text}: no factor behind the colon (found {number!r})", hint=_FLAG_HINT
        ) from None
