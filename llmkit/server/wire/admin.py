"""What an admin sends and is answered, and the document of it."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from llmkit.server.wire.adapters import (
    MOST_WAIT_SECONDS,
    NAME_PATTERN,
    LoadAdapter,
    UnloadAdapter,
)
from llmkit.server.wire.json_schema import SOME_TEXT, TEXT, Schema, integer, number, one_of, or_null
from llmkit.server.wire.openapi_sampling import Facts
from llmkit.server.wire.operations import Operation

MOST_REPLICAS = 64


class AddVersion(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A version to start."""

    name: str
    path: str
    version: str = ""
    weight: float = 0.0
    replicas: int = 1


class SetWeights(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Weights by version; those that are not named get 0."""

    weights: dict[str, float]


class ReloadModel(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What takes the place of a model's main version; null: as before."""

    path: str | None = None
    version: str | None = None


class RemoveVersion(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A version to end."""

    version: str


class Drain(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Whether new requests are refused."""

    on: bool


class Models(msgspec.Struct):
    """Models with their versions, workers and adapters."""

    schema: Literal["llmkit.serve-models/1"]
    models: list[dict[str, Any]]


class Draining(msgspec.Struct):
    """How it stands with the running requests."""

    draining: bool
    in_flight: int


class UsageRows(msgspec.Struct):
    """Tokens by day, key and model."""

    schema: Literal["llmkit.serve-usage/1"]
    rows: list[dict[str, Any]]


class LoadedAdapter(msgspec.Struct):
    """An adapter that may be named now."""

    object: Literal["adapter"]
    id: str
    lora_name: str
    lora_path: str
    strength: float
    bytes: int


class UnloadedAdapter(msgspec.Struct):
    """An adapter that may not be named any more."""

    object: Literal["adapter"]
    id: str
    freed: bool


def _base(facts: Facts) -> Schema:
    """The model that an adapter is for."""
    return one_of(None, *facts.models) if facts.models else or_null(TEXT)


def _added(facts: Facts) -> dict[str, Schema]:
    return {
        "name": {"type": "string", "pattern": "^[^:]+$"},
        "weight": number(minimum=0),
        "replicas": integer(minimum=1, maximum=MOST_REPLICAS),
    }


def _weighed(facts: Facts) -> dict[str, Schema]:
    return {"weights": {"type": "object", "additionalProperties": number(minimum=0), "minProperties": 1}}


def _loaded(facts: Facts) -> dict[str, Schema]:
    name = {"type": "string", "pattern": NAME_PATTERN, "not": {"const": "off"}}
    return {"lora_name": name, "lora_path": SOME_TEXT, "base_model_name": _base(facts)}


def _unloaded(facts: Facts) -> dict[str, Schema]:
    return {"wait_seconds": number(minimum=0, maximum=MOST_WAIT_SECONDS), "base_model_name": _base(facts)}


def _as_they_are(facts: Facts) -> dict[str, Schema]:
    return {}


_READ = (403,)
_CHANGE = (400, 403, 404, 408, 409, 413)


def _change(
    path: str,
    summary: str,
    body: type[msgspec.Struct],
    answer: type[msgspec.Struct],
    narrowed: Callable[[Facts], dict[str, Schema]] = _as_they_are,
) -> Operation:
    return Operation("POST", path, summary, body, answer, refusals=_CHANGE, narrowed=narrowed)


ADMIN_OPERATIONS = (
    Operation("GET", "/openapi.json", "This document", refusals=_READ),
    Operation("GET", "/admin/models", "Versions, weights, workers, errors", None, Models, refusals=_READ),
    _change("/admin/models", "Start a version", AddVersion, Models, _added),
    _change("/admin/models/{name:path}/weights", "Share out the conversations", SetWeights, Models, _weighed),
    _change("/admin/models/{name:path}/reload", "Replace a model's main version", ReloadModel, Models),
    _change("/admin/models/{name:path}/remove", "End a version", RemoveVersion, Models),
    _change("/admin/drain", "Refuse new requests, or take them again", Drain, Draining),
    Operation("GET", "/admin/usage", "Tokens that were taken", None, UsageRows, refusals=(403, 404)),
    _change("/v1/load_lora_adapter", "Load an adapter", LoadAdapter, LoadedAdapter, _loaded),
    _change("/v1/unload_lora_adapter", "Unload an adapter", UnloadAdapter, UnloadedAdapter, _unloaded),
)
