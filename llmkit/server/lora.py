"""`/lora-adapters`, as llama.cpp has it: which adapters there are, and at which scales they change the base
where a request names none. Also what a request is answered with: an adapter by its name, or several.
"""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.errors import refused
from llmkit.server.front import as_json
from llmkit.server.gate import Caller
from llmkit.server.models import Models
from llmkit.server.served import Served
from llmkit.server.strict_json import decode
from llmkit.server.wire.lora import LoraScale, ScalesSet, check_scales, lora_list, named_scales


async def show_lora(request: Request) -> Response:
    """GET /lora-adapters: those that the caller may use, of the model of `?model=`, or of the first."""
    served = _served(request)
    caller: Caller = request.state.caller
    names = list(served.adapters)
    seen = {one for one in names if caller.models is None or f"{served.name}:{one}" in caller.models}
    return as_json(lora_list(names, served.adapters.scales, seen))


async def set_lora(request: Request) -> Response:
    """POST /lora-adapters: those that are not in the list change nothing. It is for admins, where there are
    keys: what others are answered with changes too."""
    caller: Caller = request.state.caller
    caller.check_admin()
    with request.app.state.serve.gate.begin(caller):
        return _set(_served(request), decode(await request.body(), list[LoraScale]))


def _set(served: Served, told: list[LoraScale]) -> Response:
    check_scales(told, "scale")
    served.adapters.scales = named_scales(list(served.adapters), told, "id")
    return as_json(ScalesSet())


def scales_of(
    models: Models, served: Served, caller: Caller, adapter: str | None, lora: tuple[LoraScale, ...] | None
) -> Mapping[str, float]:
    """Scales of the adapters, beside one that it names, that a request is answered with.

    Args:
        models: says who may use what.
        served: the model.
        caller: who asks.
        adapter: that the request names behind the model's name; None: none.
        lora: its list; None: it has none.

    Raises:
        ApiError: 400: it names an adapter in both ways, or one that is not there; 403: the key may not use
            one.
    """
    if adapter is not None:
        if lora is not None:
            raise refused("lora", f"contradicts model, which names the adapter {adapter!r}")
        return {}
    if lora is None:
        return served.adapters.scales
    scales = named_scales(list(served.adapters), lora)
    for name in scales:
        models.named(f"{served.name}:{name}", caller)
    return scales


def _served(request: Request) -> Served:
    models: Models = request.app.state.serve.models
    return models.find(request.query_params.get("model"), request.state.caller)
