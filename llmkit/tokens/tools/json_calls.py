"""Calls and their arguments as JSON has them."""

import json
import math
from collections.abc import Collection
from typing import Any

from llmkit.tokens.tools.calls import FoundCall, NotACall
from llmkit.tokens.tools.reading import named


def calls_in(text: str, names: Collection[str] | None = None) -> tuple[FoundCall, ...]:
    """The calls that a value of JSON is.

    Args:
        text: JSON.
        names: as for `json_body`.

    Raises:
        NotACall: it is none.
    """
    value = loads(text)
    items = value if isinstance(value, list) else [value]
    if not items:
        raise NotACall
    return tuple(_call(one, names) for one in items)


def loads(text: str) -> Any:
    """A value of JSON that can be written as JSON again.

    Raises:
        NotACall: it is none.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        text.encode()
        json.dumps(value, ensure_ascii=False).encode()  # half a character cannot be sent
    except (ValueError, RecursionError):
        raise NotACall from None
    return value


def dumps(value: Any) -> str:
    """JSON as it is told."""
    return json.dumps(value, ensure_ascii=False)


def arguments_of(value: Any) -> str:
    """Arguments as they are told: an object; a text in their place is read as JSON.

    Raises:
        NotACall: they are no object.
    """
    if isinstance(value, str):
        value = loads(value)
    if not isinstance(value, dict):
        raise NotACall
    return dumps(value)


def _call(value: Any, names: Collection[str] | None) -> FoundCall:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    match value:
        case {"name": str() as name} | {"tool_name": str() as name}:
            given = [value[key] for key in ("arguments", "parameters") if key in value]
        case _:
            raise NotACall
    if names is not None and (name not in names or not given):
        raise NotACall
    return FoundCall(named(name), arguments_of(given[0] if given else {}))


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _finite(text: str) -> float:
    if math.isinf(value := float(text)):
        raise ValueError(text)
    return value
