"""What a text must be, in the words of OpenAI, of llama.cpp's server, of vLLM, and our own.

Sources: OpenAI's API reference, `response_format`; ggml-org/llama.cpp, tools/server/README.md (`grammar`,
`json_schema`, `response_format` with `schema`); vLLM, docs/features/structured_outputs.md (`guided_*`, and
`structured_outputs` since 0.11).
"""

from typing import Any

import msgspec

from llmkit.engine.config import NO_RULE
from llmkit.server.errors import refused

_ANY_OBJECT = '{"type":"object"}'
_STRUCTURED = ("json", "regex", "choice", "grammar", "json_object")


class RuleFields(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The fields that say what a text must be; None says nothing."""

    json_schema: dict[str, Any] | bool | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    response_format: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None


def read_rule(told: RuleFields, most_bytes: int) -> dict[str, Any]:
    """The rule of a request, as fields of SamplingConfig; empty where it has none.

    Args:
        told: the request.
        most_bytes: of a schema, an expression, a grammar, or a list of choices.

    Raises:
        ApiError: 400, naming the parameter: of no known type, too large, or a second rule.
    """
    rules = _rules(told, most_bytes)
    return {**NO_RULE, **rule} if (rule := next(iter(rules.values()), None)) else {}


def rule_names(told: RuleFields, most_bytes: int) -> dict[str, str]:
    """What a request calls its rule, by the rule's field in SamplingConfig; empty where it has none.

    Args, Raises: see `read_rule`.
    """
    return {field: param for param, rule in _rules(told, most_bytes).items() for field in rule}


def _rules(told: RuleFields, most_bytes: int) -> dict[str, dict[str, Any]]:
    """The rule of a request by the name of its parameter; at most one."""
    found: dict[str, dict[str, Any]] = {
        "json_schema": _named("json", told.json_schema, "json_schema", most_bytes),
        "regex": _named("regex", told.regex, "regex", most_bytes),
        "choice": _named("choice", told.choice, "choice", most_bytes),
        "grammar": _named("grammar", told.grammar, "grammar", most_bytes),
        "guided_json": _named("json", told.guided_json, "guided_json", most_bytes),
        "guided_regex": _named("regex", told.guided_regex, "guided_regex", most_bytes),
        "guided_choice": _named("choice", told.guided_choice, "guided_choice", most_bytes),
        "guided_grammar": _named("grammar", told.guided_grammar, "guided_grammar", most_bytes),
    }
    if told.response_format is not None:
        found["response_format"] = read_format(told.response_format, most_bytes, "response_format")
    for name, value in (told.structured_outputs or {}).items():
        param = f"structured_outputs.{name}"
        if name not in _STRUCTURED:
            if value not in (None, False):
                raise refused(param, "is not done here", code="unsupported_parameter")
            continue
        found[param] = _named(name, value, param, most_bytes)
    rules = {param: rule for param, rule in found.items() if rule}
    if len(rules) > 1:
        first, second, *_ = rules
        raise refused(second, f"{first} is given too, and a text has one rule")
    return rules


def read_format(wanted: dict[str, Any], most_bytes: int, param: str) -> dict[str, Any]:
    """The rule that a `response_format` sets, as a field of SamplingConfig.

    Raises:
        ApiError: 400: of no known type, or too large.
    """
    match wanted:
        case {"type": "text"}:
            return {}
        case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
            return _named("json", schema, param, most_bytes)
        case {"type": "json_object", "schema": dict() as schema}:  # llama.cpp's
            return _named("json", schema, param, most_bytes)
        case {"type": "json_object"} if wanted.get("schema") is None:
            return {"json_schema": _ANY_OBJECT}
        case {"type": "regex" | "choice" | "grammar" as kind} if wanted.get(kind) is not None:
            return _named(kind, wanted[kind], param, most_bytes)
    known = '"text", "json_object", "json_schema" with a schema, "regex", "choice" or "grammar"'
    raise refused(param, f"of type {known}")


def _named(kind: str, value: Any, param: str, most_bytes: int) -> dict[str, Any]:
    """A rule by vLLM's name of its kind; what asks for nothing is none."""
    match kind, value:
        case (_, None) | ("json_object", False):
            return {}
        case "json_object", True:
            return {"json_schema": _ANY_OBJECT}
        case "json", str():
            rule: dict[str, Any] = {"json_schema": value}
        case "json", dict() | bool():
            rule = {"json_schema": msgspec.json.encode(value).decode()}
        case (("regex" | "grammar"), str()):
            rule = {kind: value}
        case "choice", [_, *_] if all(isinstance(one, str) for one in value):
            rule = {"choice": tuple(value)}
        case "choice", []:
            raise refused(param, "is empty")
        case _:
            raise refused(param, f"not a {kind} (found {type(value).__name__})")
    (held,) = rule.values()
    size = len(held.encode()) if isinstance(held, str) else sum(len(one.encode()) for one in held)
    if size > most_bytes:
        raise refused(param, f"at most {most_bytes:,} bytes (found {size:,})")
    return rule
