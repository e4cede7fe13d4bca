"""What a row may set for itself: fields of SamplingConfig, by their names in JSON."""

from collections.abc import Mapping
from typing import Any

import msgspec

from llmkit.engine.config import NO_RULE, NUMBERS

OVERRIDES: dict[str, Any] = {
    **NUMBERS,
    **{"logprobs": int, "ignore_eos": bool, "stop": str | list[str], "stop_ids": list[int]},
    **{"logit_bias": dict[int, float], "samplers": list[str], "dry_sequence_breakers": list[str]},
    **{"json_schema": dict[str, Any] | bool, "regex": str, "choice": list[str], "grammar": str},
}
"""The fields, and their types in JSON."""


def as_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says, decoded, as fields of SamplingConfig."""
    has_rule = not NO_RULE.keys().isdisjoint(given)
    fields = {**(NO_RULE if has_rule else {}), **given}  # the row's own rule, in place of the flags'
    for name, value in given.items():
        if name == "stop" and isinstance(value, str):
            fields[name] = (value,)
        elif name == "json_schema":
            fields[name] = msgspec.json.encode(value).decode()
        elif isinstance(value, dict):
            fields[name] = tuple(value.items())
        elif isinstance(value, list):
            fields[name] = tuple(value)
    return fields
