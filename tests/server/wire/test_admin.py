"""The admin's document is that of its routes: what it allows is taken, what it does not is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from starlette.routing import Route

from llmkit.server.admin import AdminState, OwnerGate, build_admin
from llmkit.server.wire.admin import ADMIN_OPERATIONS, MOST_REPLICAS
from llmkit.server.wire.openapi_sampling import Facts
from tests.server.router.test_manage import managed
from tests.server.test_admin import admin_of
from tests.server_checks.from_schema import Document

ADD = {"name": "tiny", "path": "two", "version": "v2"}
WEIGHTS = "/admin/models/{name}/weights"
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("/admin/models", {**ADD, "name": ""}),
    ("/admin/models", {**ADD, "name": "a:b"}),
    ("/admin/models", {**ADD, "weight": -1}),
    ("/admin/models", {**ADD, "replicas": 0}),
    ("/admin/models", {**ADD, "replicas": MOST_REPLICAS + 1}),
    ("/admin/models", {"name": "tiny"}),
    (WEIGHTS, {"weights": {}}),
    (WEIGHTS, {"weights": {"v1": -1}}),
    ("/admin/models/{name}/remove", {}),
    ("/admin/drain", {"on": 1}),
    ("/v1/load_lora_adapter", {"lora_name": "off", "lora_path": "a"}),
    ("/v1/load_lora_adapter", {"lora_name": "a b", "lora_path": "a"}),
    ("/v1/load_lora_adapter", {"lora_name": "a", "lora_path": ""}),
    ("/v1/load_lora_adapter", {"lora_name": "a", "lora_path": "a", "strength": "1"}),
    ("/v1/unload_lora_adapter", {"lora_name": "a", "wait_seconds": -1}),
    ("/v1/unload_lora_adapter", {"lora_name": "a", "wait_seconds": 1e9}),
]


def with_admin(work: Callable[[Any], Awaitable[Any]]) -> Any:
    async def scenario() -> Any:
        async with managed() as (manager, router, _):
            return await work(admin_of(AdminState(router.state, manager, OwnerGate())))

    return asyncio.run(scenario())


def document(client_answer: Any) -> Document:
    return Document(client_answer.json())


def test_every_route_is_in_the_document_and_no_other() -> None:
    async def routes() -> set[tuple[str, str]]:
        async with managed() as (manager, router, _):
            app = build_admin(AdminState(router.state, manager, OwnerGate()))
            return {
                (method, route.path)
                for route in app.routes
                if isinstance(route, Route)
                for method in (route.methods or ()) - {"HEAD"}
            }

    assert {(one.method, one.path) for one in ADMIN_OPERATIONS} == asyncio.run(routes())


def test_what_the_document_allows_is_taken_and_answered_as_it_says() -> None:
    answers = {(one.method, one.documented_path): one.answer for one in ADMIN_OPERATIONS}
    asked = [
        ("/admin/models", ADD),
        (WEIGHTS, {"weights": {"v1": 0, "v2": 1}}),
        ("/admin/models/{name}/remove", {"version": "v1"}),
        ("/admin/models/{name}/reload", {"path": "three", "version": None}),
        ("/admin/drain", {"on": False}),
    ]

    async def ask(client: Any) -> None:
        told = document(await client.get("/openapi.json"))
        shown = await client.get("/admin/models")
        kind = answers["GET", "/admin/models"]
        assert kind is not None
        msgspec.convert(shown.json(), kind, strict=True)
        for path, body in asked:
            assert told.problem(path, body) is None
            answer = await client.post(path.replace("{name}", "tiny"), json=body)
            assert answer.status_code == 200, answer.text
            kind = answers["POST", path]
            assert kind is not None
            assert msgspec.to_builtins(msgspec.convert(answer.json(), kind, strict=True)) == answer.json()

    with_admin(ask)


@pytest.mark.parametrize(("path", "body"), REFUSED, ids=str)
def test_what_the_document_does_not_allow_is_refused(path: str, body: dict[str, Any]) -> None:
    async def ask(client: Any) -> tuple[bool, int]:
        told = document(await client.get("/openapi.json"))
        answer = await client.post(path.replace("{name}", "tiny"), json=body)
        return told.allows(path, body), answer.status_code

    assert with_admin(ask) == (False, 400)


def test_an_adapter_is_for_a_model_that_is_served() -> None:
    narrowed = {one.path: one.narrowed for one in ADMIN_OPERATIONS if one.narrowed is not None}
    for path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
        assert narrowed[path](Facts(models=("a",)))["base_model_name"] == {"enum": [None, "a"]}
