"""`/health`: whether the engine lives. `/ready`: whether a request would be taken in now."""

from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.front import as_json
from llmkit.server.handlers import State

STALLED_SECONDS = 300.0
"""A pass that takes longer will not end."""


async def health(request: Request) -> Response:
    """GET /health: 200 while every engine lives, 503 when one does not."""
    problem = ailing(request.app.state.serve)
    return as_json({"status": "ok"}) if problem is None else as_json(problem, 503)


def ailing(state: State) -> dict[str, str] | None:
    """Which engine does not live, and how; None: all do."""
    for served in state.models.all():
        if not served.thread.is_alive:
            return {"status": "dead", "model": served.name}
        if served.thread.step_seconds > STALLED_SECONDS:
            return {"status": "stalled", "model": served.name}
    return None


async def ready(request: Request) -> Response:
    """GET /ready: 200 when a request would be taken in; 503 while the server is about to end."""
    state: State = request.app.state.serve
    if state.draining:
        return as_json({"status": "draining"}, 503)
    return await health(request)
