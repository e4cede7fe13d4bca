"""JSON schemas as llguidance can hold texts to them: what it reads wrongly is said in words it reads rightly.

It takes numbers for float64, the last of 16 digits not always rightly, and whole parts for int64; it does not
see that a bound is exclusive where it is a whole number and the other one less than 1 away; a format that it
does not know, an annotation to JSON Schema, it refuses. Bounds are moved inwards only: nothing that a schema
forbids is allowed. Source: JSON Schema 2020-12; llguidance 1.9, parser/src/json/numeric.rs.
"""

import math
from collections.abc import Mapping
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any

from llmkit.errors import ConfigError
from llmkit.formats.json_text import is_number

BLANKS = r"( |\n{1,2}[ \t]{0,20})"
"""What may stand between the parts of JSON, as in llama.cpp: no model can fill its text with blanks."""
_INT64 = 2**63
_MOST = _INT64 - 1024
"""The greatest whole number that is both a float64 and an int64."""
_OPEN = 10**18
"""From here on numbers need a bound on their far side too."""
_NEXT_TO_ZERO = 1e-40
"""The least number above an exclusive 0: each digit is a pair of parentheses, of which there may be 250."""
_DIGITS = Context(prec=15, rounding=ROUND_CEILING)
"""Of a fraction that is read as it is said."""
_EXACT = 2**53
"""Below it every whole number is a float64."""
_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri", "unknown")
)
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""Under these stand schemas by names of any kind."""


def held_schema(schema: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The schema for llguidance.

    Args:
        schema: an object.
        where: its name, for errors.

    Raises:
        ConfigError: it has a number that cannot be held to, or is nested too deeply.
    """
    try:
        held: dict[str, Any] = _held(schema, where)
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply", hint="a schema with fewer levels") from None
    return held


def _held(schema: Any, where: str) -> Any:
    if isinstance(schema, list):
        return [_held(one, where) for one in schema]
    if not isinstance(schema, dict):
        return schema
    told: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("const", "enum"):
            _check_literal(value, where)
            told[key] = value
        elif key in _NAMED and isinstance(value, dict):
            told[key] = {name: _held(one, where) for name, one in value.items()}
        elif key in ("default", "examples"):
            told[key] = value
        elif key != "format" or not isinstance(value, str) or value in _FORMATS:
            told[key] = _held(value, where)
    return _bounded(told, where)


def _bounded(schema: dict[str, Any], where: str) -> dict[str, Any]:
    lower = _side(schema, "minimum", "exclusiveMinimum", 1, _MOST, where)
    is_whole = schema.get("type") == "integer"
    upper = _side(schema, "maximum", "exclusiveMaximum", -1, _INT64 if is_whole else _MOST, where)
    if lower.get("minimum", 0) >= _OPEN and not upper:
        upper = {"maximum": _MOST}
    if upper.get("maximum", 0) <= -_OPEN and not lower:
        lower = {"minimum": -_MOST}
    rest = {key: value for key, value in schema.items() if not _is_told_otherwise(key, value)}
    return rest | lower | upper


def _side(
    schema: Mapping[str, Any], plain: str, exclusive: str, sign: int, most: int, where: str
) -> dict[str, float]:
    """The bounds of one side; by `sign`, of the upper one as if all numbers were their negatives."""
    edges = {key: schema[key] * sign for key in (plain, exclusive) if _is_edge(schema.get(key))}
    if schema.get(exclusive) is True and plain in edges:  # draft 4, where false and true alone say nothing
        edges[exclusive] = edges.pop(plain)
    told: dict[str, float] = {}
    if plain in edges:
        told[plain] = _inwards(edges[plain], most, where)
    edge = edges.get(exclusive)
    if edge is not None:
        if abs(edge) < _EXACT and (edge < 0 or edge != int(edge)):
            told[exclusive] = _inwards(edge, most, where)
        else:
            told[plain] = max(_inwards(_after(edge), most, where), told.get(plain, -math.inf))
    return {key: value * sign for key, value in told.items()}


def _inwards(edge: float, most: int, where: str) -> float:
    """A lower bound, or the least above it that llguidance reads as it is said."""
    if edge > _MOST:
        raise ConfigError(
            f"{where}: a bound leaves only numbers beyond {_MOST}, which none can be held to",
            hint="other bounds, or a string with a pattern",
        )
    if edge <= 1 - _INT64:
        return -most
    if edge == int(edge):
        near = float(edge)
        return int(near if near >= edge else math.nextafter(near, math.inf))
    return float(_DIGITS.create_decimal(repr(edge)))


def _after(edge: float) -> float:
    """What is next to a whole number, above it."""
    if edge == 0:
        return _NEXT_TO_ZERO
    if 0 < edge < 10**14:
        return float(_DIGITS.next_plus(Decimal(int(edge))))
    return edge if abs(edge) > _MOST else int(edge) + 1


def _is_told_otherwise(key: str, value: Any) -> bool:
    """Whether a key of a schema is one of those that `_side` says in its own words."""
    if key in ("exclusiveMinimum", "exclusiveMaximum"):
        return _is_edge(value) or isinstance(value, bool)
    return key in ("minimum", "maximum") and _is_edge(value)


def _is_edge(value: Any) -> bool:
    return is_number(value) and value == value  # not NaN


def _check_literal(value: Any, where: str) -> None:
    """Refuse a value with a number that would come out as another."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            _check_literal(one, where)
    elif isinstance(value, int | float) and not _comes_out(value):
        raise ConfigError(
            f"{where}: the value {value} would come out as another, of fewer digits",
            hint="a string, or a number of 15 digits",
        )


def _comes_out(value: float) -> bool:
    """Whether it is written as it is: beyond int64 as its fewest digits, with zeros behind them."""
    read = _read(value)
    return read == value if abs(value) <= _MOST else Decimal(repr(read)) == value


def _read(value: float) -> float:
    """A number as llguidance reads it: its digits, and then the point among them, each rounded to float64."""
    _, digits, exponent = Decimal(repr(abs(value))).as_tuple()
    if not isinstance(exponent, int) or exponent < -300:
        return math.nan
    whole = float("".join(map(str, digits)))
    read = whole / 10.0**-exponent if exponent < 0 else whole * 10.0**exponent
    return -read if value < 0 else read
