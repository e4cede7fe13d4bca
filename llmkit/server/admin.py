"""The admin's listener: what is served, in which versions and by which workers, looked at and changed.

GET  /openapi.json                                   all this, for programs
GET  /admin/models                                   versions, weights, workers, errors
POST /admin/models                                   {"name", "path", "version"?, "weight"?, "replicas"?}
POST /admin/models/NAME/weights                      {"weights": {"v1": 90, "v2": 10}}
POST /admin/models/NAME/reload                       {"path"?, "version"?}
POST /admin/models/NAME/remove                       {"version"}
POST /admin/drain                                    {"on": true}: new requests get 503
GET  /admin/usage                                    tokens by day, key and model
POST /v1/load_lora_adapter, /v1/unload_lora_adapter  see `admin_adapters`
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.admin_adapters import load_lora_adapter, unload_lora_adapter
from llmkit.server.errors import ApiError, not_an_admin
from llmkit.server.front import as_json, put_in_front, route
from llmkit.server.gate import Caller, Gate, OpenGate
from llmkit.server.observe import RequestLog
from llmkit.server.router.fleet import Version
from llmkit.server.router.manage import Manager, Source
from llmkit.server.router.state import RouterState
from llmkit.server.router.worker import Worker
from llmkit.server.strict_json import decode
from llmkit.server.usage import read_usage
from llmkit.server.wire.admin import (
    ADMIN_OPERATIONS,
    AddVersion,
    Drain,
    ReloadModel,
    RemoveVersion,
    SetWeights,
)
from llmkit.server.wire.openapi import openapi_bytes
from llmkit.server.wire.openapi_sampling import Facts


@dataclass
class AdminState:
    """What the handlers share."""

    router: RouterState
    manager: Manager
    gate: Gate
    usage: Path | None = None
    """The database of usage; None: it is kept in memory only."""
    draining: bool = False
    in_flight: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)


class OwnerGate(OpenGate):
    """Of a socket that only its owner can open, who is the admin."""

    def identify(self, key: str | None) -> Caller:
        """The owner."""
        return Caller(is_admin=True)


def build_admin(state: AdminState, *, tell: RequestLog = lambda record: None) -> Starlette:
    """The application of the admin's listener.

    Args:
        state: what is looked at and changed.
        tell: takes a record of each request.
    """
    routes = [  # a name may be as `org/model`
        route("/openapi.json", _for_admins(show_openapi), "GET"),
        route("/admin/models", _for_admins(show_models), "GET"),
        route("/admin/models", _for_admins(add_version), "POST"),
        route("/admin/models/{name:path}/weights", _for_admins(set_weights), "POST"),
        route("/admin/models/{name:path}/reload", _for_admins(reload_model), "POST"),
        route("/admin/models/{name:path}/remove", _for_admins(remove_version), "POST"),
        route("/admin/drain", _for_admins(drain), "POST"),
        route("/admin/usage", _for_admins(show_usage), "GET"),
        route("/v1/load_lora_adapter", _for_admins(load_lora_adapter), "POST"),
        route("/v1/unload_lora_adapter", _for_admins(unload_lora_adapter), "POST"),
    ]
    return put_in_front(routes, state, tell=tell)


async def show_openapi(request: Request) -> Response:
    """GET /openapi.json: what an admin may send."""
    state: AdminState = request.app.state.serve
    facts = Facts(models=tuple(state.router.fleet.groups))
    return Response(openapi_bytes(ADMIN_OPERATIONS, facts), media_type="application/json")


async def show_models(request: Request) -> Response:
    """GET /admin/models."""
    return _models(request.app.state.serve)


async def add_version(request: Request) -> Response:
    """POST /admin/models: a version, started; with weight 0 nobody is sent there yet."""
    state: AdminState = request.app.state.serve
    told = decode(await request.body(), AddVersion)
    await state.manager.add(
        Source(
            model=told.name,
            path=told.path,
            version=told.version,
            weight=told.weight,
            replicas=told.replicas,
        )
    )
    return _models(state)


async def set_weights(request: Request) -> Response:
    """POST /admin/models/NAME/weights."""
    state: AdminState = request.app.state.serve
    state.manager.weigh(request.path_params["name"], decode(await request.body(), SetWeights).weights)
    return _models(state)


async def reload_model(request: Request) -> Response:
    """POST /admin/models/NAME/reload: answered when the new workers have taken over."""
    state: AdminState = request.app.state.serve
    told = decode(await request.body() or b"{}", ReloadModel)
    await state.manager.reload(request.path_params["name"], told.path, told.version)
    return _models(state)


async def remove_version(request: Request) -> Response:
    """POST /admin/models/NAME/remove."""
    state: AdminState = request.app.state.serve
    told = decode(await request.body(), RemoveVersion)
    await state.manager.remove(request.path_params["name"], told.version)
    return _models(state)


async def drain(request: Request) -> Response:
    """POST /admin/drain: running requests go on, new ones are refused, until it is switched off."""
    state: AdminState = request.app.state.serve
    state.router.draining = decode(await request.body(), Drain).on
    return as_json({"draining": state.router.draining, "in_flight": state.router.in_flight})


async def show_usage(request: Request) -> Response:
    """GET /admin/usage."""
    state: AdminState = request.app.state.serve
    if state.usage is None:
        raise ApiError(404, "usage is kept in memory only: there is no --usage file", code="no_usage_file")
    rows = await asyncio.to_thread(read_usage, state.usage)
    return as_json({"schema": "llmkit.serve-usage/1", "rows": rows})


def _for_admins(
    handler: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """A handler that answers admins only."""

    async def answer(request: Request) -> Response:
        caller: Caller = request.state.caller
        if not caller.is_admin:
            raise not_an_admin()
        return await handler(request)

    return answer


def _models(state: AdminState) -> Response:
    models = [
        {
            "name": group.name,
            "versions": [_version(one) for one in group.versions.values()],
            "adapters": [
                {"lora_name": one.name, "lora_path": one.path, "strength": one.strength}
                for one in state.manager.adapters.of(group.name).values()
            ],
        }
        for group in state.router.fleet.groups.values()
    ]
    return as_json({"schema": "llmkit.serve-models/1", "models": models})


def _version(version: Version) -> dict[str, Any]:
    requests, failed = version.outcomes.count(time.monotonic())
    return {
        "version": version.name,
        "weight": version.weight,
        "path": version.path,
        "recent_requests": requests,
        "recent_failures": failed,
        "rolled_back": version.rolled_back,
        "workers": [_worker(one) for one in version.workers],
    }


def _worker(worker: Worker) -> dict[str, Any]:
    return {
        "id": worker.id,
        "state": worker.state,
        "pid": worker.pid,
        "running": worker.running,
        "outstanding_tokens": worker.outstanding,
        "restarts": worker.restarts,
        "system_fingerprints": {card.id: card.fingerprint for card in worker.cards},
    }
