"""The document against the application that it describes, and against what its bodies' structs take."""

import asyncio
from typing import Any

import msgspec
import pytest
from starlette.routing import Route

from llmkit.server.app import build_app
from llmkit.server.gate import OpenGate
from llmkit.server.handlers import State
from llmkit.server.metrics import Metrics
from llmkit.server.models import Models
from llmkit.server.wire.openapi import OPERATIONS, Operation, openapi_bytes, openapi_document
from llmkit.server.wire.sampling import WireLimits
from tests.server.conftest import Serving


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


def test_the_server_sends_the_document(serving: Serving) -> None:
    async def ask() -> Any:
        async with serving() as client:
            return await client.get("/openapi.json")

    answer = asyncio.run(ask())
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == openapi_bytes() and answer.json()["openapi"] == "3.1.0"


@pytest.mark.parametrize("one", [one for one in OPERATIONS if one.body is not None], ids=lambda one: one.path)
def test_a_body_has_the_fields_of_the_struct_that_decodes_it_and_no_others(one: Operation) -> None:
    document = openapi_document()
    told = document["paths"][one.documented_path]["post"]["requestBody"]["content"]["application/json"]
    schema = document["components"]["schemas"][told["schema"]["$ref"].rpartition("/")[2]]
    assert one.body is not None
    fields = msgspec.structs.fields(one.body)
    assert set(schema["properties"]) == {field.encode_name for field in fields}
    assert set(schema.get("required", ())) == {field.encode_name for field in fields if field.required}
    assert schema["additionalProperties"] is False


def test_every_reference_of_the_document_leads_somewhere() -> None:
    document = openapi_document()
    names = set(document["components"]["schemas"])

    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"].rpartition("/")[2]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*map(references, node.values()))
        return set().union(*map(references, node)) if isinstance(node, list) else set()

    assert references(document) == names


def test_a_place_for_a_name_is_a_parameter_and_health_needs_no_key() -> None:
    paths = openapi_document()["paths"]
    assert [one["name"] for one in paths["/v1/models/{name}"]["get"]["parameters"]] == ["name"]
    assert paths["/health"]["get"]["security"] == [] and "security" not in paths["/v1/models"]["get"]
