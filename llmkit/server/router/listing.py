"""What there is to ask a router, and how busy it is: `/v1/models`, `/load`, as its workers tell of them."""

import contextlib
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.errors import ApiError, no_model, no_slot
from llmkit.server.front import as_json
from llmkit.server.gate import Caller
from llmkit.server.router.crew import Reply
from llmkit.server.router.fleet import Group, no_worker
from llmkit.server.router.processes import ask_all
from llmkit.server.router.state import RouterState
from llmkit.server.router.worker import Card, Worker
from llmkit.server.wire.model_page import model_answer, models_answer
from llmkit.server.wire.openapi import facts_of, openapi_bytes
from llmkit.server.wire.operations import OPERATIONS

_LOAD_SECONDS = 1.0
_COUNTS = ("drawn_tokens", "prefill_tokens", "cached_tokens")


async def list_models(request: Request) -> Response:
    """GET /v1/models: those that the caller may use, adapters too."""
    return as_json(models_answer(_cards(request), request.headers, request.query_params))


async def show_model(request: Request) -> Response:
    """GET /v1/models/NAME."""
    state: RouterState = request.app.state.serve
    name = request.path_params["name"]
    group = state.fleet.find(name, request.state.caller)
    card = next((one for one in group.cards() if one.id == name), None)
    if card is None:
        raise no_model(name, [one.id for one in group.cards()])
    return as_json(model_answer(_described(group, card), request.headers))


async def show_load(request: Request) -> Response:
    """GET /load: what the workers are busy with, of the models that the caller may use."""
    state: RouterState = request.app.state.serve
    caller: Caller = request.state.caller
    workers = [one for one in state.fleet.workers() if one.is_ours and one.takes_requests]
    loads: dict[str, list[dict[str, Any]]] = {}
    for who, told in await _loads_of(workers):
        loads.setdefault(told["model"], []).append({"worker": who, **told})
    data = []
    for name, ones in loads.items():
        if caller.models is not None and name not in caller.models:
            continue
        total: dict[str, Any] = {"model": name, "workers": len(ones)}
        for key in ("running", "waiting"):
            total[key] = sum(one[key] for one in ones)
        total["cache_used"] = round(sum(one["cache_used"] for one in ones) / len(ones), 4)
        if caller.is_admin or not caller.name:
            total |= {key: sum(one.get(key, 0) for one in ones) for key in _COUNTS}
            total["by_worker"] = [{key: one[key] for key in one if key != "model"} for one in ones]
        data.append(total)
    return as_json({"object": "list", "data": data})


async def show_props(request: Request) -> Response:
    """GET /props: what a worker says of a model, where it says anything as llama.cpp does."""
    workers = _workers_asked(request)
    return Response((await _said(workers[:1], "/props"))[0].content, media_type="application/json")


async def show_slots(request: Request) -> Response:
    """GET /slots: those of all workers of a model, numbered on; where there are keys it takes an admin's."""
    caller: Caller = request.state.caller
    caller.check_admin()
    replies = await _said(_workers_asked(request), "/slots")
    slots = [slot for reply in replies for slot in msgspec.json.decode(reply.content, type=_Objects)]
    if request.query_params.get("fail_on_no_slot") and all(one.get("is_processing") for one in slots):
        raise no_slot()
    return as_json([slot | {"id": place} for place, slot in enumerate(slots)])


async def show_lora(request: Request) -> Response:
    """GET /lora-adapters: those of a worker that the caller may use; every worker of a model has the same."""
    caller: Caller = request.state.caller
    workers = _workers_asked(request)
    told = msgspec.json.decode((await _said(workers[:1], "/lora-adapters"))[0].content, type=_Objects)
    model = request.app.state.serve.fleet.find(request.query_params.get("model"), caller).name
    return as_json(
        [one for one in told if caller.models is None or f"{model}:{one.get('name')}" in caller.models]
    )


async def set_lora(request: Request) -> Response:
    """POST /lora-adapters: refused, as its scales would be of one process, and be lost with it.

    Raises:
        ApiError: 400: always.
    """
    problem = "/lora-adapters: behind several workers, each request says its scales itself, with lora"
    raise ApiError(400, problem, code="not_available")


def _workers_asked(request: Request) -> list[Worker]:
    """Those of the model that `?model=` names, or of the first, that take requests.

    Raises:
        ApiError: 403, 404; 503: there is none.
    """
    state: RouterState = request.app.state.serve
    group = state.fleet.find(request.query_params.get("model"), request.state.caller)
    workers = [one for one in group.main.workers if one.takes_requests]
    if not workers:
        raise no_worker(group.name)
    return workers


async def _said(workers: Sequence[Worker], path: str) -> list[Reply]:
    """What workers answer to a GET.

    Raises:
        ApiError: 400: none of them has it.
    """
    found = await ask_all(workers, path, seconds=_LOAD_SECONDS)
    if not found:
        problem = f"{path}: the server that has this model does not have it"
        raise ApiError(400, problem, code="not_available")
    return found


async def show_openapi(request: Request) -> Response:
    """GET /openapi.json: what may be sent."""
    cards = _cards(request)
    told = {bool(card.get("has_index")) for card in cards}
    facts = facts_of(cards, has_index=told.pop() if len(told) == 1 else None)
    return Response(openapi_bytes(OPERATIONS, facts), media_type="application/json")


def _cards(request: Request) -> list[dict[str, Any]]:
    """Models and adapters that the caller may use."""
    state: RouterState = request.app.state.serve
    caller: Caller = request.state.caller
    return [
        _described(group, card)
        for group in state.fleet.groups.values()
        for card in group.cards()
        if caller.models is None or card.id in caller.models
    ]


async def _loads_of(workers: Sequence[Worker]) -> list[tuple[str, dict[str, Any]]]:
    """Who is busy with what, process by process."""
    found = []
    for reply in await ask_all(workers, "/load", seconds=_LOAD_SECONDS):
        with contextlib.suppress(msgspec.DecodeError):
            told = msgspec.json.decode(reply.content, type=_Load)
            found += [(reply.who, one) for one in told.data]
    return found


_Objects = list[dict[str, Any]]


class _Load(msgspec.Struct):
    data: list[dict[str, Any]]


def _described(group: Group, card: Card) -> dict[str, Any]:
    """A model as a worker describes it; the router says since when."""
    return {**card.told, "id": card.id, "object": "model", "created": group.created} | {
        "owned_by": card.told.get("owned_by", "llmkit"),
        "max_model_len": card.context,
        "system_fingerprint": card.fingerprint,
    }
