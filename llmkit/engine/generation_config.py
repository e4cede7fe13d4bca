"""What a model's generation_config.json says of how texts are drawn."""

from collections.abc import Mapping
from typing import Any

import msgspec

from llmkit.errors import ConfigError


def model_defaults(settings: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The fields of SamplingConfig that a generation_config.json sets.

    `do_sample: false` is temperature 0, and `max_new_tokens` is max_tokens. What it does not name keeps our
    default, not transformers'.

    Raises:
        ConfigError: a value has the wrong type.
    """
    kinds: dict[str, Any] = {
        **{"temperature": float, "top_k": int, "top_p": float, "min_p": float, "repetition_penalty": float},
        **{"typical_p": float, "max_new_tokens": int},
        "stop_strings": str | list[str],
    }
    found: dict[str, Any] = {}
    for name, kind in kinds.items():
        if settings.get(name) is None:
            continue
        try:
            found[name] = msgspec.convert(settings[name], kind)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{source}: {name}: {error}", hint=f"mend {source}") from None
    if "stop_strings" in found:
        stops = found.pop("stop_strings")
        found["stop"] = (stops,) if isinstance(stops, str) else tuple(stops)
    if "max_new_tokens" in found:
        found["max_tokens"] = found.pop("max_new_tokens")
    if settings.get("do_sample") is False:
        found["temperature"] = 0.0
    return found


def unfollowed(settings: Mapping[str, Any], context: int) -> list[str]:
    """Keys of a generation_config.json that change what transformers writes, and nothing here.

    Args:
        settings: the decoded JSON object.
        context: positions of the model: prompt and text of max_length together may be as long anyway.
    """
    found = [name for name, neutral in _NEUTRAL.items() if settings.get(name) not in (None, neutral)]
    longest = settings.get("max_length")
    if isinstance(longest, int) and longest < context and settings.get("max_new_tokens") is None:
        found.append("max_length")
    return found


_NEUTRAL: dict[str, Any] = {
    **{"num_beams": 1, "penalty_alpha": 0, "top_h": None, "epsilon_cutoff": 0},
    **{"eta_cutoff": 0, "no_repeat_ngram_size": 0, "min_length": 0, "min_new_tokens": 0},
    **{"bad_words_ids": [], "suppress_tokens": [], "begin_suppress_tokens": [], "sequence_bias": {}},
    **{"forced_bos_token_id": None, "forced_eos_token_id": None, "guidance_scale": 1},
    **{"exponential_decay_length_penalty": None, "encoder_repetition_penalty": 1},
    **{"encoder_no_repeat_ngram_size": 0, "watermarking_config": None, "token_healing": False},
}
"""The value of each that changes nothing."""
