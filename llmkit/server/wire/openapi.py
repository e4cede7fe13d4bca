"""`/openapi.json`: what may be sent, as programs read it. The bodies come from the structs that decode them.

Source: the OpenAPI Specification, 3.1.0.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from llmkit.server.wire.chat import ChatRequest
from llmkit.server.wire.completions import CompletionRequest
from llmkit.server.wire.embeddings import EmbeddingRequest
from llmkit.server.wire.messages import MessagesRequest
from llmkit.server.wire.responses import ResponsesRequest
from llmkit.server.wire.tokenize import DetokenizeRequest, TemplateRequest, TokenizeRequest
from llmkit.version import __version__

_PLACE = re.compile(r"{(?P<name>\w+)(?::\w+)?}")
_JSON = "application/json"
_EVENTS = "text/event-stream"
_METRICS = "text/plain"


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


@dataclass(frozen=True)
class Operation:
    """A route, as its document has it."""

    method: str
    path: str
    """As its application has it: a place for a name may say what kind of name."""
    summary: str
    body: type[msgspec.Struct] | None = None
    answers: tuple[str, ...] = (_JSON,)
    """Media types."""
    is_open: bool = False
    """Whether it needs no key, whatever the server's keys."""

    @property
    def documented_path(self) -> str:
        """Its path in the document's words."""
        return _PLACE.sub(r"{\g<name>}", self.path)


_TEXT = (_JSON, _EVENTS)
OPERATIONS = (
    Operation("GET", "/health", "Whether every engine lives", is_open=True),
    Operation("GET", "/ready", "Whether a request would be taken in", is_open=True),
    Operation("GET", "/metrics", "Figures for Prometheus", answers=(_METRICS,)),
    Operation("GET", "/load", "What each engine is busy with now"),
    Operation("GET", "/openapi.json", "This document"),
    Operation("GET", "/v1/models", "Models that this caller may ask"),
    Operation("GET", "/v1/models/{name:path}", "One model"),
    Operation("POST", "/v1/completions", "Go on with a text", CompletionRequest, _TEXT),
    Operation("POST", "/v1/chat/completions", "Reply in a conversation", ChatRequest, _TEXT),
    Operation("POST", "/v1/responses", "Reply, by OpenAI's newer endpoint", ResponsesRequest, _TEXT),
    Operation("POST", "/v1/embeddings", "Texts as vectors", EmbeddingRequest),
    Operation("POST", "/v1/messages", "Reply, by Anthropic's endpoint", MessagesRequest, _TEXT),
    Operation("POST", "/v1/messages/count_tokens", "Tokens of a conversation", MessagesRequest),
    Operation("POST", "/tokenize", "A text as token ids", TokenizeRequest),
    Operation("POST", "/detokenize", "Token ids as a text", DetokenizeRequest),
    Operation("POST", "/apply-template", "A conversation as the model reads it", TemplateRequest),
)


def openapi_document(operations: Sequence[Operation] = OPERATIONS) -> dict[str, Any]:
    """The document of some routes."""
    kinds: list[type[msgspec.Struct]] = [ErrorBody, AnthropicErrorBody]
    kinds += dict.fromkeys(one.body for one in operations if one.body is not None)
    references, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schemas = dict(zip(kinds, references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.documented_path, {})[one.method.lower()] = _described(one, schemas)
    keys = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "llmkit serve", "version": __version__},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": keys},
        "security": [{}, {"bearer": []}, {"header": []}],  # {}: a server may have no keys
    }


@functools.cache
def openapi_bytes() -> bytes:
    """The document of every route, as it is sent."""
    return msgspec.json.encode(openapi_document())


def _described(one: Operation, schemas: dict[type[msgspec.Struct], dict[str, Any]]) -> dict[str, Any]:
    is_anthropic = one.path.startswith("/v1/messages")
    error = schemas[AnthropicErrorBody if is_anthropic else ErrorBody]
    told: dict[str, Any] = {
        "summary": one.summary,
        "responses": {
            "200": {"description": "done", "content": {kind: {} for kind in one.answers}},
            "default": {"description": "what is wrong", "content": {_JSON: {"schema": error}}},
        },
    }
    if one.is_open:
        told["security"] = []
        told["responses"]["503"] = {"description": "not now", "content": {_JSON: {}}}
    if names := _PLACE.findall(one.path):
        place = {"in": "path", "required": True, "schema": {"type": "string"}}
        told["parameters"] = [{"name": name, **place} for name in names]
    if one.body is not None:
        told["requestBody"] = {"required": True, "content": {_JSON: {"schema": schemas[one.body]}}}
    return told
