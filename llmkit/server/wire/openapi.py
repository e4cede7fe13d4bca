"""`/openapi.json`: what may be sent and what is answered, as programs read it, of one server and one caller.

Source: the OpenAPI Specification, 3.1.0.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from llmkit.server.errors import ANTHROPIC_OVERLOADED
from llmkit.server.wire.json_schema import TEXT, Schema, array, integer, one_of, reference
from llmkit.server.wire.openapi_bodies import as_decoded, body_schema
from llmkit.server.wire.openapi_parts import PARTS
from llmkit.server.wire.openapi_sampling import Facts
from llmkit.server.wire.operations import JSON, OPERATIONS, PLACE, Operation
from llmkit.version import __version__

_REFERENCES = "#/components/schemas/{name}"


class ErrorDetail(msgspec.Struct):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct):
    """An answer that is an error, in OpenAI's words."""

    error: ErrorDetail


class AnthropicErrorDetail(msgspec.Struct):
    """What is wrong."""

    type: str
    message: str


class AnthropicErrorBody(msgspec.Struct):
    """An answer that is an error, in Anthropic's words."""

    type: str
    error: AnthropicErrorDetail


REFUSALS = {
    400: "the body is not as described, or cannot be followed",
    401: "no key, or nobody's",
    403: "the key, or the page that asks, is not allowed this",
    404: "there is no such model, or no such response",
    408: "the body took too long to come in",
    409: "there is one of this name",
    413: "the body is too large",
    429: "the key is over its limits",
    500: "the request failed inside the server",
    503: "not now: the queue is full, or the server is about to end",
}
"""What an error's status says."""
_LATER = (429, 503)
"""Those that say when to come back."""


def facts_of(cards: Sequence[Mapping[str, Any]], *, has_index: bool | None = None) -> Facts:
    """What bodies may name, of the models that a caller may ask.

    Args:
        cards: as `/v1/models` has them.
        has_index: whether there are passages to put before a question; None: that is not known.
    """

    def least(name: str) -> int | None:
        told = [card.get(name) for card in cards]
        numbers = [one for one in told if isinstance(one, int)]
        return min(numbers) if numbers and len(numbers) == len(told) else None

    def common(name: str) -> Any:
        told = {card.get(name) for card in cards}
        return told.pop() if len(told) == 1 else None

    return Facts(
        models=tuple(card["id"] for card in cards),
        vocab_size=least("vocab_size"),
        context=least("max_model_len"),
        hidden_size=common("hidden_size"),
        has_index=has_index,
        fills_gaps=common("fills_gaps"),
    )


def openapi_document(
    operations: Sequence[Operation] = OPERATIONS, facts: Facts | None = None
) -> dict[str, Any]:
    """The document of some routes.

    Args:
        operations: the routes.
        facts: of the server; None: nothing is known of it.
    """
    facts = Facts() if facts is None else facts
    kinds: list[type[msgspec.Struct]] = [ErrorBody, AnthropicErrorBody]
    kinds += dict.fromkeys(one.answer for one in operations if one.answer is not None)
    _, told = msgspec.json.schema_components(kinds, ref_template=_REFERENCES)
    schemas = PARTS | told
    for one in operations:
        if one.body is not None and one.body_name is not None:
            schemas[one.body_name] = (
                body_schema(one.body, facts, counts=one.counts)
                if one.narrowed is None
                else as_decoded(one.body, one.narrowed(facts))
            )
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.documented_path, {})[one.method.lower()] = _described(one, facts)
    keys = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    used = _reached(paths, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "llmkit serve", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {name: one for name, one in schemas.items() if name in used},
            "securitySchemes": keys,
        },
        "security": [{}, {"bearer": []}, {"header": []}],  # {}: a server may have no keys
    }


@functools.lru_cache(maxsize=16)
def openapi_bytes(operations: tuple[Operation, ...], facts: Facts) -> bytes:
    """The document, as it is sent."""
    return msgspec.json.encode(openapi_document(operations, facts))


def _described(one: Operation, facts: Facts) -> dict[str, Any]:
    is_anthropic = one.path.startswith("/v1/messages")
    error = {JSON: {"schema": reference((AnthropicErrorBody if is_anthropic else ErrorBody).__name__)}}
    content = {one.media: {"schema": TEXT} if one.media != JSON else {}}
    if one.answer is not None:
        answer_schema = reference(one.answer.__name__)
        content[one.media] = {
            "schema": array(answer_schema) if one.lists and one.body is None else answer_schema
        }
    if one.streams:
        content["text/event-stream"] = {"schema": TEXT}
    told: dict[str, Any] = {
        "summary": one.summary,
        "responses": {"200": {"description": "done", "content": content}},
    }
    for status in sorted({*one.refusals, *(() if one.is_open else (401, 403))}):
        answer: dict[str, Any] = {"description": REFUSALS[status], "content": error}
        if status in _LATER:
            answer["headers"] = {"retry-after": {"description": "seconds", "schema": integer(minimum=1)}}
        name = ANTHROPIC_OVERLOADED if is_anthropic and status == 503 else status
        told["responses"][str(name)] = answer
    told["responses"]["default"] = {"description": "what is wrong", "content": error}
    if one.is_open:
        told["security"] = []
        told["responses"]["503"] = {"description": "not now", "content": content}
    if parameters := _parameters(one, facts):
        told["parameters"] = parameters
    if one.body_name is not None:
        body = reference(one.body_name)
        told["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": array(body) if one.lists else body}},
        }
    return told


def _parameters(one: Operation, facts: Facts) -> list[dict[str, Any]]:
    """What stands in its address: a `name` is a model's."""
    models = one_of(*facts.models) if facts.models else TEXT
    told: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": models if name == "name" else TEXT}
        for name in PLACE.findall(one.path)
    ]
    return told + [{"name": name, "in": "query", "schema": schema} for name, schema in one.query.items()]


def _reached(start: Any, schemas: Mapping[str, Schema]) -> set[str]:
    """Names of schemas that are referred to, by others that are, too."""
    found: set[str] = set()
    todo = set(_names(start))
    while todo:
        found |= todo
        todo = {name for one in todo for name in _names(schemas[one])} - found
    return found


def _names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        for one in node.values():
            yield from _names(one)
    elif isinstance(node, list):
        for one in node:
            yield from _names(one)
