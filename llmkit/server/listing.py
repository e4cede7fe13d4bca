"""`/v1/models`: what there is to ask; `/metrics` and `/load`: how it goes.

Source: OpenAI's API reference, "Models".
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.front import as_json
from llmkit.server.gate import Caller
from llmkit.server.handlers import State
from llmkit.server.metrics import CONTENT_TYPE
from llmkit.server.served import Served
from llmkit.server.wire.model_page import model_answer, models_answer
from llmkit.server.wire.openapi import facts_of, openapi_bytes
from llmkit.server.wire.operations import OPERATIONS


async def list_models(request: Request) -> Response:
    """GET /v1/models: those that the caller may use."""
    return as_json(models_answer(_cards(request), request.headers, request.query_params))


async def show_model(request: Request) -> Response:
    """GET /v1/models/NAME."""
    state: State = request.app.state.serve
    name = request.path_params["name"]
    told = _described(state, name, state.models.named(name, request.state.caller))
    return as_json(model_answer(told, request.headers))


async def show_metrics(request: Request) -> Response:
    """GET /metrics: for Prometheus. They tell of every key: where there are keys it takes an admin's."""
    state: State = request.app.state.serve
    caller: Caller = request.state.caller
    caller.check_admin()
    return Response(state.metrics.text(), media_type=CONTENT_TYPE)


async def show_load(request: Request) -> Response:
    """GET /load: what is going on now, of the models that the caller may use; counts of all keys' tokens are
    for admins, where there are keys."""
    state: State = request.app.state.serve
    caller: Caller = request.state.caller
    told = []
    for name, load in state.models.loads().items():
        if caller.models is not None and name not in caller.models:
            continue
        one = {
            "model": name,
            "running": load.running,
            "waiting": load.waiting,
            "cache_used": round(1 - load.free_blocks / load.blocks, 4),
        }
        if caller.is_admin or not caller.name:
            one |= {
                "drawn_tokens": load.drawn_tokens,
                "prefill_tokens": load.prefill_tokens,
                "cached_tokens": load.cached_tokens,
            }
        told.append(one)
    return as_json({"object": "list", "data": told})


async def show_openapi(request: Request) -> Response:
    """GET /openapi.json: what may be sent, for programs that write or test clients."""
    state: State = request.app.state.serve
    facts = facts_of(_cards(request), has_index=state.retrieval is not None)
    return Response(openapi_bytes(OPERATIONS, facts), media_type="application/json")


def _cards(request: Request) -> list[dict[str, Any]]:
    """Models and adapters that the caller may use."""
    state: State = request.app.state.serve
    caller: Caller = request.state.caller
    allowed = [one for one in state.models.names() if caller.models is None or one in caller.models]
    return [_described(state, name, state.models.find(name, caller)) for name in allowed]


def _described(state: State, name: str, served: Served) -> dict[str, Any]:
    return {
        "id": name,
        "parent": None if name == served.name else served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "llmkit",
        "max_model_len": served.context,
        "vocab_size": min(served.config.vocab_size, served.tokenizer.vocab_size),
        "hidden_size": served.config.hidden_size,
        "has_chat_template": served.tokenizer.chat_template is not None,
        "fills_gaps": served.infill_form is not None,
        "has_index": state.retrieval is not None,
        "server_tools": [one["function"]["name"] for one in state.functions],
        "system_fingerprint": served.adapters.marked(
            served.fingerprint, name.partition(":")[2] or None, served.adapters.scales
        ),
        "meta": {
            "n_vocab": served.config.vocab_size,
            "n_ctx": served.context,
            "n_ctx_train": served.config.max_position_embeddings,
            "n_embd": served.config.hidden_size,
        },
    }
