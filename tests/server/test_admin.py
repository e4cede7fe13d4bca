"""The admin's listener answers admins only, and what it changes is changed."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmkit.server.admin import AdminState, OwnerGate, build_admin
from llmkit.server.answer import Usage
from llmkit.server.gate import Gate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.usage import UsageStore
from tests.server.router.fakes import routed
from tests.server.router.test_manage import managed, source, text


def admin_of(state: AdminState) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(build_admin(state), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://admin")


def test_what_is_served_is_shown_and_changed() -> None:
    async def scenario() -> None:
        async with managed() as (manager, router, _):
            client = admin_of(AdminState(router.state, manager, OwnerGate()))
            seen = (await client.get("/admin/models")).json()["models"]
            workers = seen[0]["versions"][0]["workers"]
            assert seen[0]["name"] == "tiny" and [one["state"] for one in workers] == ["up", "up"]
            added = {"name": "tiny", "path": "two", "version": "v2"}
            assert (await client.post("/admin/models", json=added)).status_code == 200
            assert await text(router) == "one"
            told = {"weights": {"v1": 0, "v2": 1}}
            assert (await client.post("/admin/models/tiny/weights", json=told)).status_code == 200
            assert await text(router) == "two"
            assert (await client.post("/admin/models/tiny/remove", json={"version": "v1"})).status_code == 200
            assert (await client.post("/admin/models/tiny/reload", json={"path": "three"})).status_code == 200
            assert await text(router) == "three"
            assert (await client.post("/admin/models/none/reload")).status_code == 404
            wrong = await client.post("/admin/models/tiny/weights", json={"weight": {}})
            assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "weight")

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["org/s", "org%2Fs"])
def test_a_model_with_a_slash_in_its_name_is_changed_as_others_are(name: str) -> None:
    async def scenario() -> list[int]:
        async with managed() as (manager, router, _):
            for version in ("v1", "v2"):
                await manager.add(source("two", version, 50.0, model="org/s"))
            client = admin_of(AdminState(router.state, manager, OwnerGate()))
            changes: dict[str, Any] = {
                "weights": {"weights": {"v1": 90, "v2": 10}},
                "reload": {"path": "three", "version": "v3"},
                "remove": {"version": "v2"},
            }
            answers = [
                await client.post(f"/admin/models/{name}/{what}", json=body) for what, body in changes.items()
            ]
            assert list(router.fleet.groups["org/s"].versions) == ["v3"]
            return [one.status_code for one in answers]

    assert asyncio.run(scenario()) == [200, 200, 200]


def test_a_server_that_is_drained_refuses_new_requests_until_it_is_not() -> None:
    async def scenario() -> list[int]:
        async with managed() as (manager, router, _):
            client = admin_of(AdminState(router.state, manager, OwnerGate()))
            statuses = []
            for on in (True, False):
                await client.post("/admin/drain", json={"on": on})
                statuses += [(await router.complete()).status_code]
                statuses += [(await router.client.get("/ready")).status_code]
            return statuses

    assert asyncio.run(scenario()) == [503, 503, 200, 200]


@pytest.mark.parametrize(("key", "status"), [("root", 200), ("bob", 403), ("nobody", 401), (None, 401)])
def test_only_an_admins_key_opens_it(key: str | None, status: int) -> None:
    keys = Keys(
        {"root": KeyRules(sha256=digest_of("root"), admin=True), "bob": KeyRules(sha256=digest_of("bob"))}
    )

    async def scenario() -> set[int]:
        async with managed() as (manager, router, _):
            gate: Gate = routed(keys=keys).gate
            client = admin_of(AdminState(router.state, manager, gate))
            headers = {} if key is None else {"authorization": f"Bearer {key}"}
            asked: list[Any] = [
                await client.get("/admin/models", headers=headers),
                await client.post("/admin/drain", json={"on": False}, headers=headers),
            ]
            return {one.status_code for one in asked}

    assert asyncio.run(scenario()) == {status}


def test_usage_is_shown_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    store = UsageStore(path)
    store.charge("alice", "m", Usage(3, 1, 4), datetime(2026, 5, 5, tzinfo=UTC))
    store.close()

    async def scenario() -> list[Any]:
        async with managed() as (manager, router, _):
            states = [AdminState(router.state, manager, OwnerGate(), where) for where in (path, None)]
            return [await admin_of(one).get("/admin/usage") for one in states]

    kept, forgotten = asyncio.run(scenario())
    assert kept.json()["rows"][0] | {"day": ""} == {
        **{"day": "", "key": "alice", "model": "m", "requests": 1},
        **{"prompt_tokens": 3, "cached_tokens": 1, "completion_tokens": 4},
    }
    assert forgotten.status_code == 404
