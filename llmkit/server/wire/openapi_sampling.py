"""The fields with which a text is drawn, as JSON schemas of the checks that `sampling` and `rules` make."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from llmkit.engine.config import MAX_SEED, MIN_PENALTY, SAMPLERS
from llmkit.server.wire.json_schema import (
    FLAG,
    JSON_OBJECT,
    NULL,
    OBJECT,
    REGEX,
    SOME_TEXT,
    TEXT,
    Schema,
    array,
    clash,
    either,
    integer,
    lacking,
    number,
    one_of,
    or_null,
    record,
    reference,
)
from llmkit.server.wire.rules import RuleFields
from llmkit.server.wire.sampling import SAYS_NOTHING, WireLimits

LIMITS = WireLimits()
TRUE: Schema = {"const": True}
RULES = tuple(field.encode_name for field in msgspec.structs.fields(RuleFields))
"""Fields of which one may be given."""
STOP: Schema = {**SOME_TEXT, "maxLength": LIMITS.stop_bytes}
BREAK: Schema = {**SOME_TEXT, "maxLength": LIMITS.break_bytes}
_BELOW = 1e6
_OFF: dict[str, tuple[float, ...]] = {
    **{"temperature": (1.0,), "top_k": (0, -1), "top_p": (1.0,), "min_p": (0.0,), "typical_p": (1.0,)},
    **{"top_n_sigma": (0.0, -1.0), "xtc_probability": (0.0,)},
}
"""Values with which a step of the sampler does nothing; endpoints take them where its field has them."""


@dataclass(frozen=True)
class Facts:
    """What bodies may name on one server; None: that is not known, and left open."""

    models: tuple[str, ...] | None = None
    """Adapters too."""
    vocab_size: int | None = None
    context: int | None = None
    hidden_size: int | None = None
    """Numbers of a vector."""
    has_index: bool | None = None
    """Whether there are passages to put before a question."""
    fills_gaps: bool | None = None
    """Whether models know marks around a gap, which `suffix` needs."""


def named_model(facts: Facts, *, adapters: bool = True) -> Schema:
    """A model by its name, or none."""
    if facts.models is None:
        return or_null(TEXT)
    return one_of(None, *(one for one in facts.models if adapters or ":" not in one))


def token_ids(facts: Facts, *, least: int = 0, most: int | None = None) -> Schema:
    """Ids of tokens that the model has."""
    last = None if facts.vocab_size is None else facts.vocab_size - 1
    return array(integer(minimum=0, maximum=last), least=least, most=most)


def unsaid(harmless: Mapping[str, tuple[Any, ...]]) -> dict[str, Schema]:
    """Parameters that are not done here: only values that ask for nothing."""
    return {name: one_of(None, *values) for name, values in harmless.items()}


def sampling_fields(facts: Facts) -> dict[str, Schema]:
    """Fields that completions and chats share."""
    penalty = number(exclusiveMinimum=-_BELOW, exclusiveMaximum=_BELOW)
    options = dict.fromkeys(("include_usage", "continuous_usage_stats"), FLAG)
    bias = {
        "type": "object",
        "propertyNames": {"type": "string", "pattern": "^[0-9]{1,9}$"},
        "additionalProperties": penalty,
        "maxProperties": LIMITS.bias_ids,
    }
    return {
        **unsaid(SAYS_NOTHING),
        "model": named_model(facts),
        **drawn(),
        "max_tokens": or_null(integer(minimum=1)),
        "min_tokens": or_null(integer(minimum=0)),
        "top_k": or_null(integer(minimum=-1)),
        "min_p": or_null(number(minimum=0, maximum=1)),
        "typical_p": or_null(number(exclusiveMinimum=0, maximum=1)),
        "top_n_sigma": or_null(number(minimum=0, exclusiveMaximum=_BELOW)),
        "xtc_probability": or_null(number(minimum=0, maximum=1)),
        "xtc_threshold": or_null(number(exclusiveMinimum=0, maximum=1)),
        "dry_multiplier": or_null(number(minimum=0, exclusiveMaximum=_BELOW)),
        "dry_base": or_null(number(minimum=1, exclusiveMaximum=_BELOW)),
        "dry_allowed_length": or_null(integer(minimum=1)),
        "dry_penalty_last_n": or_null(integer(minimum=-1)),
        "dry_sequence_breakers": or_null(array(BREAK, most=LIMITS.breaks)),
        "adaptive_target": or_null(number(exclusiveMinimum=-_BELOW, maximum=1)),
        "adaptive_decay": or_null(number(minimum=0, maximum=0.99)),
        "mirostat": or_null(integer(minimum=0, maximum=2)),
        "mirostat_tau": or_null(number(minimum=0, exclusiveMaximum=_BELOW)),
        "mirostat_eta": or_null(number(minimum=0, maximum=1)),
        "repetition_penalty": or_null(number(minimum=MIN_PENALTY, exclusiveMaximum=_BELOW)),
        "presence_penalty": or_null(penalty),
        "frequency_penalty": or_null(penalty),
        "repeat_last_n": or_null(integer(minimum=-1)),
        "stop_token_ids": or_null(token_ids(facts, most=LIMITS.stop_strings)),
        "priority": or_null(integer()),
        "logit_bias": or_null(bias),
        "stop": either(STOP, array(STOP, most=LIMITS.stop_strings), NULL),
        "seed": or_null(integer(minimum=-1, maximum=MAX_SEED)),
        "n": or_null(integer(minimum=1, maximum=LIMITS.answers)),
        "samplers": or_null({**array(one_of(*SAMPLERS), most=len(SAMPLERS)), "uniqueItems": True}),
        **_rule_fields(),
        "stream_options": or_null(record({**options, "include_obfuscation": {"const": False}})),
    }


def drawn() -> dict[str, Schema]:
    """Fields that every endpoint for text has."""
    return {
        "temperature": or_null(number(minimum=0, exclusiveMaximum=_BELOW)),
        "top_p": or_null(number(exclusiveMinimum=0, maximum=1)),
    }


def sampling_clashes() -> list[Schema]:
    """What they cannot be together."""
    return [
        {"required": ["max_tokens", "max_completion_tokens"]},
        *(
            {"required": [name], "anyOf": [{"required": [other]} for other in RULES[place:]]}
            for place, name in enumerate(RULES[:-1], 1)
        ),
        *(
            lacking(
                clash(samplers={"type": "array", "not": {"contains": {"const": name}}}),
                **{name: one_of(*off)},
            )
            for name, off in _OFF.items()
        ),
        *(  # steps that no model's own settings have
            clash(
                samplers={"type": "array", "not": {"contains": {"const": name}}},
                **{name: number(exclusiveMinimum=0)},
            )
            for name in ("top_n_sigma", "xtc_probability")
        ),
        clash(mirostat=integer(minimum=1), adaptive_target=number(minimum=0)),
        lacking(clash(stream_options=OBJECT), stream=TRUE),
        clash(best_of={"const": 1}, n=integer(minimum=2)),
    ]


def _rule_fields() -> dict[str, Schema]:
    choice = array(SOME_TEXT, least=1)
    kinds = {"json": either(OBJECT, TRUE), "regex": REGEX, "choice": choice, "grammar": TEXT}
    one = {**kinds, "json_object": FLAG}
    return {
        "json_schema": or_null(kinds["json"]),
        **{name: or_null(kinds[name]) for name in ("regex", "choice", "grammar")},
        "guided_json": either(OBJECT, JSON_OBJECT, NULL),
        **{f"guided_{name}": or_null(kinds[name]) for name in ("regex", "choice", "grammar")},
        "structured_outputs": or_null({**record(one), "maxProperties": 1}),
        "response_format": or_null(reference("ResponseFormat")),
    }
