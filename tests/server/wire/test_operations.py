"""The routes that are described are those that there are."""

from starlette.routing import Route

from llmkit.server.app import build_app
from llmkit.server.gate import OpenGate
from llmkit.server.handlers import State
from llmkit.server.metrics import Metrics
from llmkit.server.models import Models
from llmkit.server.wire.operations import OPERATIONS
from llmkit.server.wire.sampling import WireLimits


def routes() -> set[tuple[str, str]]:
    """(method, path) of every route that answers programs; a page for people is no part of an interface."""
    models = Models([])
    app = build_app(State(models, OpenGate(), WireLimits(), Metrics(models.loads, models.versions)))
    return {
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route) and route.path != "/"
        for method in (route.methods or ()) - {"HEAD"}
    }


def test_every_route_is_in_the_document_and_no_other() -> None:
    assert {(one.method, one.path) for one in OPERATIONS} == routes()


def test_all_that_is_asked_of_a_model_may_be_over_its_keys_limits_and_looking_around_is_not() -> None:
    for one in OPERATIONS:
        assert (429 in one.refusals) == (one.method == "POST")
