"""What a worker answers its router beside the endpoints: its adapters, loaded and unloaded, and what answers
took that were given up.

GET  /worker/adapters           those that it has
POST /worker/adapters/load      {"lora_name", "lora_path", "load_inplace"?, "strength"?}
POST /worker/adapters/unload    {"lora_name", "wait_seconds"?}
POST /worker/left/REQUEST_ID    {"took"}, once

Only a worker has these routes. It listens on a socket that its router alone can open, or asks for its word.
"""

from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.errors import ApiError
from llmkit.server.front import as_json
from llmkit.server.handlers import State
from llmkit.server.served import Served
from llmkit.server.strict_json import decode
from llmkit.server.wire.adapters import LoadAdapter, UnloadAdapter, loaded_object, read_load, read_wait


async def show_adapters(request: Request) -> Response:
    """GET /worker/adapters."""
    served = _served(request)
    return as_json({"data": [loaded_object(served.name, *one) for one in served.adapters.all()]})


async def load_adapter(request: Request) -> Response:
    """POST /worker/adapters/load."""
    served = _served(request)
    told = decode(await request.body(), LoadAdapter)
    spec = read_load(told)
    nbytes = await served.adapters.load(spec, replace=told.load_inplace)
    return as_json(loaded_object(served.name, spec, nbytes))


async def unload_adapter(request: Request) -> Response:
    """POST /worker/adapters/unload."""
    served = _served(request)
    told = decode(await request.body(), UnloadAdapter)
    freed = await served.adapters.unload(told.lora_name, wait_seconds=read_wait(told))
    return as_json({"object": "adapter", "id": f"{served.name}:{told.lora_name}", "freed": freed})


async def take_left(request: Request) -> Response:
    """POST /worker/left/REQUEST_ID.

    Raises:
        ApiError: 404: its answer is not given up yet, or has not begun.
    """
    state: State = request.app.state.serve
    took = state.left.take(request.path_params["request_id"])
    if took is None:
        raise ApiError(404, "no such answer was given up", code="not_found")
    return as_json({"took": took})


def _served(request: Request) -> Served:
    """The one model of a worker."""
    state: State = request.app.state.serve
    (served,) = state.models.all()
    return served
