"""JSON schemas, as short as they are said. Source: JSON Schema 2020-12, which OpenAPI 3.1 has."""

from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
SOME_TEXT: Schema = {"type": "string", "minLength": 1}
FLAG: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}
OBJECT: Schema = {"type": "object"}
ANYTHING: Schema = {}
REGEX: Schema = {"type": "string", "format": "regex"}
JSON_OBJECT: Schema = {
    "type": "string",
    "contentMediaType": "application/json",
    "contentSchema": OBJECT,
    "description": "An object as JSON.",
}


def either(*schemas: Schema) -> Schema:
    """One of these, or several."""
    return {"anyOf": list(schemas)}


def or_null(schema: Schema) -> Schema:
    """This or null."""
    return either(schema, NULL)


def one_of(*values: Any) -> Schema:
    """One of some values."""
    return {"enum": list(values)}


def number(**bounds: float) -> Schema:
    """A number; `bounds` in JSON Schema's words."""
    return {"type": "number", **bounds}


def integer(**bounds: int | None) -> Schema:
    """A whole number; a bound that is None is none."""
    return {"type": "integer", **{name: value for name, value in bounds.items() if value is not None}}


def array(items: Schema, *, least: int = 0, most: int | None = None) -> Schema:
    """A list."""
    told: Schema = {"type": "array", "items": items}
    if least:
        told["minItems"] = least
    return told if most is None else told | {"maxItems": most}


def record(
    properties: Mapping[str, Schema], *, required: Sequence[str] = (), more: Schema | bool = False
) -> Schema:
    """An object.

    Args:
        properties: those that are known.
        required: those that must be there.
        more: whether there may be others, or what they are.
    """
    told: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": more}
    return told | {"required": list(required)} if required else told


def reference(name: str) -> Schema:
    """A schema of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def clash(**values: Schema) -> Schema:
    """An object in which these properties are there, each of some value."""
    return {"required": list(values), "properties": values}


def lacking(found: Schema, **values: Schema) -> Schema:
    """The objects among those of `found` in which other properties are not there, or not of these values."""
    unlike = {name: {"not": value} for name, value in values.items()}
    return found | {"properties": {**found.get("properties", {}), **unlike}}


def none_of(*schemas: Schema) -> Schema:
    """Any object but these.

    In the place of "if this, then that" too: programs that make bodies out of schemas try every combination
    of ifs. That an object is meant is said for them as well: they take an `anyOf` alone apart.
    """
    return {"not": OBJECT | either(*schemas)}
