"""`/v1/responses/ID`: a response that was kept, its input, and its end; of a server and of a router."""

from typing import Protocol

from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.front import as_json
from llmkit.server.gate import Caller
from llmkit.server.kept_responses import KeptResponses
from llmkit.server.wire.input_items import DeletedResponse, check_query, page_of


class KeepingState(Protocol):
    """What is asked of the state that an application's handlers share."""

    kept: KeptResponses


async def show_response(request: Request) -> Response:
    """GET /v1/responses/ID."""
    kept, tenant, name = _asked(request)
    check_query(request.query_params, ())
    return as_json(kept.response(tenant, name))


async def list_input_items(request: Request) -> Response:
    """GET /v1/responses/ID/input_items: all that was read before it, of what it goes on from too."""
    kept, tenant, name = _asked(request)
    check_query(request.query_params, ("after", "limit", "order"))
    return as_json(page_of(kept.input_items(tenant, name), request.query_params))


async def delete_response(request: Request) -> Response:
    """DELETE /v1/responses/ID."""
    kept, tenant, name = _asked(request)
    kept.delete(tenant, name)
    return as_json(DeletedResponse(name, "response", deleted=True))


class _ResponseId(StringConvertor):
    """A name that is not one of the API's own words."""

    regex = "(?!(?:input_tokens|compact)(?:/|$))[^/]+"


register_url_convertor("response", _ResponseId())
KEPT = (
    ("GET", "/v1/responses/{response_id:response}", show_response),
    ("DELETE", "/v1/responses/{response_id:response}", delete_response),
    ("GET", "/v1/responses/{response_id:response}/input_items", list_input_items),
)
"""Methods, paths and handlers."""


def _asked(request: Request) -> tuple[KeptResponses, str, str]:
    """Where to look, whose, and what."""
    state: KeepingState = request.app.state.serve
    caller: Caller = request.state.caller
    return state.kept, caller.tenant, request.path_params["response_id"]
