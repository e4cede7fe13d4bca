"""Adapters loaded and unloaded by an admin while everything else goes on, at the paths that vLLM has.

POST /v1/load_lora_adapter      {"lora_name", "lora_path", "load_inplace"?, "strength"?, "base_model_name"?}
POST /v1/unload_lora_adapter    {"lora_name", "wait_seconds"?, "base_model_name"?}

Every worker of the model has the adapter afterwards, or none. Requests under way end with what they have.
"""

from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.errors import ApiError, refused
from llmkit.server.front import as_json
from llmkit.server.router.manage import Manager
from llmkit.server.strict_json import decode
from llmkit.server.wire.adapters import LoadAdapter, UnloadAdapter, read_load, read_wait


async def load_lora_adapter(request: Request) -> Response:
    """POST /v1/load_lora_adapter: answered when requests may name it."""
    manager: Manager = request.app.state.serve.manager
    told = decode(await request.body(), LoadAdapter)
    spec, model = read_load(told), _model(manager, told.base_model_name)
    return as_json(await manager.load_adapter(model, spec, replace=told.load_inplace))


async def unload_lora_adapter(request: Request) -> Response:
    """POST /v1/unload_lora_adapter: answered when its memory is free, or after `wait_seconds`."""
    manager: Manager = request.app.state.serve.manager
    told = decode(await request.body(), UnloadAdapter)
    wait, model = read_wait(told), _model(manager, told.base_model_name)
    return as_json(await manager.unload_adapter(model, told.lora_name, wait_seconds=wait))


def _model(manager: Manager, name: str | None) -> str:
    """The model that is meant.

    Raises:
        ApiError: 400: there are several, and none is named; 404: there is none of this name.
    """
    models = manager.models
    if name is None:
        if len(models) != 1:
            raise refused("base_model_name", f"say for which model (there are {', '.join(models)})")
        return models[0]
    if name not in models:
        problem = f"base_model_name: there is no model {name!r} here"
        raise ApiError(404, problem, code="model_not_found", param="base_model_name")
    return name
