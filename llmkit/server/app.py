"""The application of a server with a model of its own: its routes."""

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette

from llmkit.server.embeddings import embeddings
from llmkit.server.front import put_in_front, route
from llmkit.server.handlers import State, chat, completions, messages, responses
from llmkit.server.health import health, ready
from llmkit.server.kept_api import KEPT
from llmkit.server.listing import list_models, show_load, show_metrics, show_model, show_openapi
from llmkit.server.llama import completion, infill
from llmkit.server.lora import set_lora, show_lora
from llmkit.server.observe import RequestLog
from llmkit.server.page import show_page
from llmkit.server.props import show_props
from llmkit.server.rerank import rerank
from llmkit.server.slots import show_slots
from llmkit.server.tokens_api import apply_template, count_input, count_tokens, detokenize, tokenize
from llmkit.server.wire.rerank import RERANK
from llmkit.server.worker_api import load_adapter, show_adapters, take_left, unload_adapter


def build_app(
    state: State,
    *,
    tell: RequestLog = lambda record: None,
    origins: Sequence[str] = (),
    host: str | None = None,
) -> Starlette:
    """The application of a server.

    Args:
        state: models, gate and limits.
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
        route("/v1/completions", completions, "POST"),
        route("/v1/chat/completions", chat, "POST"),
        route("/v1/responses", responses, "POST"),
        *(route(path, handler, method) for method, path, handler in KEPT),
        route("/v1/responses/input_tokens", count_input, "POST"),
        route("/v1/embeddings", embeddings, "POST"),
        *(route(path, rerank, "POST") for path in RERANK),
        route("/completion", completion, "POST"),
        route("/infill", infill, "POST"),
        route("/v1/messages", messages, "POST"),
        route("/v1/messages/count_tokens", count_tokens, "POST"),
        route("/tokenize", tokenize, "POST"),
        route("/detokenize", detokenize, "POST"),
        route("/apply-template", apply_template, "POST"),
    ]
    if state.behind_router:
        routes += [
            route("/worker/adapters", show_adapters, "GET"),
            route("/worker/adapters/load", load_adapter, "POST"),
            route("/worker/adapters/unload", unload_adapter, "POST"),
            route("/worker/left/{request_id}", take_left, "POST"),
        ]
    paths = frozenset(one.path for one in routes)
    metrics = state.metrics

    def over(record: dict[str, Any]) -> None:
        metrics.add(record, paths)
        tell(record)

    return put_in_front(routes, state, tell=over, origins=origins, host=host)
