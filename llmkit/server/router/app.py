"""The application of a router: the endpoints of a server, answered by workers."""

from collections.abc import Sequence
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.front import as_json, put_in_front, route
from llmkit.server.gate import Caller
from llmkit.server.kept_api import KEPT
from llmkit.server.metrics import CONTENT_TYPE, families_text
from llmkit.server.observe import RequestLog
from llmkit.server.page import show_page
from llmkit.server.router.asked import UNWRITTEN
from llmkit.server.router.fleet import Fleet
from llmkit.server.router.keeping import count_input, responses
from llmkit.server.router.listing import (
    list_models,
    set_lora,
    show_load,
    show_lora,
    show_model,
    show_openapi,
    show_props,
    show_slots,
)
from llmkit.server.router.proxy import forward, write_text
from llmkit.server.router.state import RouterState
from llmkit.server.router.worker_metrics import engines_text
from llmkit.server.wire.llama import LLAMA

CHARGED = (
    *("/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages", *LLAMA),
    *UNWRITTEN,
)
FREE = ("/v1/messages/count_tokens", "/tokenize", "/detokenize", "/apply-template")


def build_router(
    state: RouterState,
    *,
    tell: RequestLog = lambda record: None,
    origins: Sequence[str] = (),
    host: str | None = None,
) -> Starlette:
    """The application of a router.

    Args:
        state: workers and gate.
        tell: takes a record of each request.
        origins: whose pages may ask, beside its own; none by default.
        host: where it listens; None: on a Unix socket.
    """
    routes = [
        route("/", show_page, "GET"),
        route("/health", health, "GET"),
        route("/ready", ready, "GET"),
        route("/metrics", show_metrics, "GET"),
        route("/load", show_load, "GET"),
        route("/openapi.json", show_openapi, "GET"),
        route("/props", show_props, "GET"),
        route("/slots", show_slots, "GET"),
        route("/lora-adapters", show_lora, "GET"),
        route("/lora-adapters", set_lora, "POST"),
        route("/v1/models", list_models, "GET"),
        route("/v1/models/{name:path}", show_model, "GET"),
        route("/v1/responses", responses, "POST"),
        route("/v1/responses/input_tokens", count_input, "POST"),
        *(route(path, handler, method) for method, path, handler in KEPT),
        *(route(path, write_text, "POST") for path in CHARGED if path != "/v1/responses"),
        *(route(path, forward, "POST") for path in FREE),
    ]
    paths = frozenset(one.path for one in routes)

    def over(record: dict[str, Any]) -> None:
        state.metrics.add(record, paths)
        tell(record)

    return put_in_front(routes, state, tell=over, origins=origins, host=host)


async def health(request: Request) -> Response:
    """GET /health: the router lives; that it answers is all there is to say."""
    return as_json({"status": "ok"})


async def ready(request: Request) -> Response:
    """GET /ready: 200 when a request for any model would be taken in."""
    state: RouterState = request.app.state.serve
    if state.draining:
        return as_json({"status": "draining"}, 503)
    if not state.fleet.is_ready:
        down = [group.name for group in state.fleet.groups.values() if not group.is_up]
        return as_json({"status": "no worker", "models": down}, 503)
    return as_json({"status": "ok"})


async def show_metrics(request: Request) -> Response:
    """GET /metrics: for Prometheus. They tell of every key: where there are keys it takes an admin's."""
    state: RouterState = request.app.state.serve
    caller: Caller = request.state.caller
    caller.check_admin()
    engines = await engines_text(list(state.fleet.workers()))
    content = state.metrics.text() + fleet_text(state.fleet) + engines
    return Response(content, media_type=CONTENT_TYPE)


def fleet_text(fleet: Fleet) -> bytes:
    """Figures of the workers, as Prometheus reads them."""
    up = GaugeMetricFamily("llmkit_worker_up", "1 where it takes requests", labels=("worker",))
    running = GaugeMetricFamily("llmkit_worker_requests", "Requests with it", labels=("worker",))
    tokens = GaugeMetricFamily("llmkit_worker_outstanding_tokens", "Tokens of them", labels=("worker",))
    restarts = CounterMetricFamily("llmkit_worker_restarts", "Times it was started again", labels=("worker",))
    weights = GaugeMetricFamily(
        "llmkit_version_weight", "Share of the conversations", labels=("model", "version")
    )
    over = CounterMetricFamily("llmkit_requests_failed_over", "Requests sent to a second worker")
    over.add_metric([], fleet.failed_over)
    for worker in fleet.workers():
        up.add_metric([worker.id], float(worker.takes_requests))
        running.add_metric([worker.id], worker.running)
        tokens.add_metric([worker.id], worker.outstanding)
        restarts.add_metric([worker.id], worker.restarts)
    for group in fleet.groups.values():
        for version in group.versions.values():
            weights.add_metric([group.name, version.name], version.weight)
    return families_text([up, running, tokens, restarts, weights, over])
