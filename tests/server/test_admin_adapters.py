"""vLLM's two paths on the admin's listener."""

import asyncio
from typing import Any

import pytest

from llmkit.server.admin import AdminState, OwnerGate
from tests.server.router.test_manage import managed, source
from tests.server.test_admin import admin_of

LOAD: dict[str, Any] = {"lora_name": "poet", "lora_path": "one"}


def test_the_only_model_is_meant_and_of_several_one_is_named() -> None:
    async def go() -> list[tuple[int, str]]:
        async with managed() as (manager, router, _):
            asked: list[tuple[str, Any]] = []

            async def load(name: str, spec: Any, *, replace: bool) -> dict[str, Any]:
                asked.append((name, (spec.name, replace)))
                return {}

            manager.load_adapter = load  # type: ignore[method-assign]
            client = admin_of(AdminState(router.state, manager, OwnerGate()))
            answers = [await client.post("/v1/load_lora_adapter", json=LOAD)]
            await manager.add(source("two", "v1", 1.0, model="other"))
            for more in ({}, {"base_model_name": "other", "load_inplace": True}, {"base_model_name": "x"}):
                answers.append(await client.post("/v1/load_lora_adapter", json=LOAD | more))
            assert asked == [("tiny", ("poet", False)), ("other", ("poet", True))]
            return [(one.status_code, one.text) for one in answers]

    found = asyncio.run(go())
    assert [status for status, _ in found] == [200, 400, 200, 404]
    assert "there are tiny, other" in found[1][1]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("load", {**LOAD, "lora_name": "a:b"}, 400),
        ("load", {**LOAD, "path": "x"}, 400),
        ("unload", {"lora_name": "poet"}, 404),
        ("unload", {"lora_name": "poet", "wait_seconds": -1}, 400),
    ],
)
def test_what_cannot_be_is_refused(path: str, body: dict[str, Any], status: int) -> None:
    async def go() -> int:
        async with managed() as (manager, router, _):
            client = admin_of(AdminState(router.state, manager, OwnerGate()))
            return (await client.post(f"/v1/{path}_lora_adapter", json=body)).status_code

    assert asyncio.run(go()) == status


def test_a_client_finds_none_of_it_on_its_own_port() -> None:
    async def go() -> list[int]:
        async with managed() as (_, router, _):
            paths = ("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/worker/adapters/load")
            return [(await router.client.post(path, json=LOAD)).status_code for path in paths]

    assert asyncio.run(go()) == [404, 404, 404]
