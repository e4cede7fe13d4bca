"""`/health`: whether the engine lives. `/ready`: whether a request would be taken in now."""

from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.front import as_json
from llmkit.server.handlers import State

STALLED_SECONDS = 300.0
"""A pass that takes longer will not end."""


async def health(request: Request) -> Response:
    """GET /health: 200 while every engine lives, 503 when one does not."""
    state: State = request.app.state.serve
    for served in state.models.all():
        if not served.thread.is_alive:
            return as_json({"status": "dead", "model": served.name}, 503)
        if served.thread.step_seconds > STALLED_SECONDS:
            return as_json({"status": "stalled", "model": served.name}, 503)
    return as_json({"status": "ok"})


async def ready(request: Request) -> Response:
    """GET /ready: 200 when a request would be taken in; 503 while the server is about to end."""
    state: State = request.app.state.serve
    if state.draining:
        return as_json({"status": "draining"}, 503)
    return await health(request)
