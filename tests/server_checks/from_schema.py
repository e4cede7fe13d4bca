"""Bodies at random from a schema of `/openapi.json`: what the document allows, at its edges too."""

import json
from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator

Schema = dict[str, Any]
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4)
OBJECTS = st.sampled_from([{}, {"type": "object"}, {"type": "string", "maxLength": 3}, {"enum": [1, "a"]}])
"""An object of which nothing is said is often a schema: they stand for both."""
EXPRESSIONS = st.sampled_from(["a", "[a-c]{2}", "(yes|no)!?"])
MOST_OPTIONAL = 5


class Document:
    """A document, and what it allows."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.paths: dict[str, Any] = document["paths"]
        self._schemas: dict[str, Schema] = document["components"]["schemas"]
        self._document = document

    def body(self, path: str) -> Schema:
        """The schema of the body of a path."""
        told = self.paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        return self.resolved(told)

    def resolved(self, schema: Schema) -> Schema:
        """The schema that a reference leads to."""
        if "$ref" not in schema:
            return schema
        return self._schemas[schema["$ref"].rpartition("/")[2]]

    def allows(self, path: str, body: Any) -> bool:
        """Whether a body is as its schema asks for."""
        return self.problem(path, body) is None

    def problem(self, path: str, body: Any) -> str | None:
        """What the schema has against a body."""
        whole = self.body(path) | {"components": {"schemas": self._schemas}}
        return next((one.message[:300] for one in Draft202012Validator(whole).iter_errors(body)), None)

    def bodies(self, path: str) -> st.SearchStrategy[dict[str, Any]]:
        """Bodies that the schema allows."""
        return self.values(self.body(path)).filter(lambda one: self.allows(path, one))

    def values(self, schema: Schema) -> st.SearchStrategy[Any]:
        """Values of a schema; what holds between properties is left to `bodies`."""
        schema = self.resolved(schema)
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        if "const" in schema:
            return st.just(schema["const"])
        if "anyOf" in schema:
            return st.one_of([self.values(one) for one in schema["anyOf"]])
        match schema.get("type"):
            case "null":
                return st.none()
            case "boolean":
                return st.booleans()
            case "string":
                return self._texts(schema)
            case "integer":
                return _integers(schema)
            case "number":
                return _numbers(schema)
            case "array":
                most = min(schema.get("maxItems", 3), schema.get("minItems", 0) + 3)
                items = self.values(schema["items"])
                unique = repr if schema.get("uniqueItems") else None
                return st.lists(items, min_size=schema.get("minItems", 0), max_size=most, unique_by=unique)
            case "object":
                return self._objects(schema)
        return SCALARS

    def _texts(self, schema: Schema) -> st.SearchStrategy[str]:
        if "contentSchema" in schema:
            return self.values(schema["contentSchema"]).map(json.dumps)
        if schema.get("format") == "regex":
            return EXPRESSIONS
        if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True).filter(lambda one: one == one.strip())
        least = schema.get("minLength", 0)
        return st.text(st.characters(exclude_categories=["Cs"]), min_size=least, max_size=least + 8)

    def _objects(self, schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
        known: dict[str, Schema] = schema.get("properties", {})
        if not known:
            more = schema.get("additionalProperties", True)
            if not isinstance(more, dict):
                return OBJECTS if more else st.just({})
            return st.dictionaries(self.values(schema["propertyNames"]), self.values(more), max_size=3)
        required = schema.get("required", [])
        optional = [name for name in known if name not in required]
        most = min(MOST_OPTIONAL, schema.get("maxProperties", len(known)))
        names = st.lists(st.sampled_from(optional), max_size=most, unique=True) if optional else st.just([])
        return names.flatmap(
            lambda chosen: st.fixed_dictionaries(
                {name: self.values(known[name]) for name in (*required, *chosen)}
            )
        )


def _integers(schema: Schema) -> st.SearchStrategy[float]:
    least, most = schema.get("minimum", -(2**40)), schema.get("maximum", 2**40)
    some = st.integers(least, min(most, least + 8))
    return st.sampled_from([least, most]) | some | some.map(float)  # to JSON, 5.0 is as whole as 5


def _numbers(schema: Schema) -> st.SearchStrategy[float]:
    floats = st.floats(
        schema.get("minimum", schema.get("exclusiveMinimum", -1e9)),
        schema.get("maximum", schema.get("exclusiveMaximum", 1e9)),
        exclude_min="exclusiveMinimum" in schema,
        exclude_max="exclusiveMaximum" in schema,
    )
    edges = [schema[name] for name in ("minimum", "maximum") if name in schema]
    return floats | st.sampled_from(edges) if edges else floats
