"""Models, adapters and load of a router are those of its workers."""

import asyncio
from typing import Any

import httpx
import jsonschema
import pytest

from llmkit.server.handoff import WorkerGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.router.fleet import Fleet, Version
from llmkit.server.router.probes import headers_of
from llmkit.server.router.worker import Card, Worker
from tests.server.conftest import Serving
from tests.server.router.crews import crew_of
from tests.server.router.fakes import FakeWorker, Routing, routed, said

KEYS = Keys(
    {
        "a": KeyRules(sha256=digest_of("a"), models=("tiny:poet",)),
        "b": KeyRules(sha256=digest_of("b")),
        "root": KeyRules(sha256=digest_of("root"), admin=True),
    }
)


def get(router: Routing, path: str, key: str = "b") -> httpx.Response:
    return asyncio.run(router.client.get(path, headers={"x-api-key": key}))


def test_adapters_are_listed_with_their_model_and_only_to_who_may_use_them() -> None:
    one = FakeWorker(said("x"), name="w")
    one.worker.cards = (*one.worker.cards, Card("tiny:poet", 100, "fp", {"parent": "tiny"}), Card("other"))
    router = routed(one, keys=KEYS)
    told = get(router, "/v1/models").json()["data"]
    assert [model["id"] for model in told] == ["tiny", "tiny:poet"] and told[1]["parent"] == "tiny"
    assert [model["id"] for model in get(router, "/v1/models", "a").json()["data"]] == ["tiny:poet"]
    assert get(router, "/v1/models/tiny:poet", "a").json()["system_fingerprint"] == "fp"
    statuses = [get(router, f"/v1/models/{name}").status_code for name in ("tiny", "tiny:none", "none")]
    assert statuses == [200, 404, 404]


def loaded(name: str, running: int, used: float) -> Worker:
    told = {"model": "tiny", "running": running, "waiting": 1, "cache_used": used, "drawn_tokens": 10}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"data": [told]}))
    worker = Worker(name, httpx.AsyncClient(transport=transport, base_url="http://w"))
    worker.up((Card("tiny"),))
    return worker


@pytest.mark.parametrize(("key", "counts"), [("b", False), ("root", True)])
def test_load_is_that_of_all_workers_and_counts_are_for_admins(key: str, counts: bool) -> None:
    workers = [loaded("a", 2, 0.5), loaded("b", 3, 0.1), loaded("c", 9, 0.9)]
    workers[2].down()
    (told,) = get(Routing(Version("", 1.0, workers), keys=KEYS), "/load", key).json()["data"]
    expected: dict[str, Any] = {"model": "tiny", "workers": 2, "running": 5, "waiting": 2, "cache_used": 0.3}
    assert {name: told[name] for name in expected} == expected
    assert [one["worker"] for one in told.get("by_worker", [])] == (["a", "b"] if counts else [])
    assert ("drawn_tokens" in told) is counts and told.get("drawn_tokens", 20) == 20


def test_the_document_of_the_endpoints_is_there() -> None:
    assert (
        "/v1/chat/completions"
        in get(routed(FakeWorker(said("x")), keys=KEYS), "/openapi.json").json()["paths"]
    )


@pytest.mark.parametrize(
    ("has_index", "allowed"), [((True,), [True, False]), ((False,), [False]), ((True, False), [True, False])]
)
def test_the_document_says_whether_there_are_passages(
    has_index: tuple[bool, ...], allowed: list[bool]
) -> None:
    cards = [Card(f"m{number}", 100, None, {"has_index": one}) for number, one in enumerate(has_index)]
    fleet = Fleet()
    one = FakeWorker(said("x"), is_own=False)
    one.worker.cards = tuple(cards)
    fleet.learn(one.worker)
    schemas = get(Routing(fleet=fleet, keys=KEYS), "/openapi.json").json()["components"]["schemas"]
    validator = jsonschema.Draft202012Validator(schemas["ChatRequest"]["properties"]["retrieve"])
    assert [told for told in (True, False) if validator.is_valid(told)] == allowed


def test_load_of_replicas_is_told_one_by_one(serving: Serving) -> None:
    async def go() -> list[str]:
        async with crew_of(serving, [None, None]) as (group, _):
            router = Routing(group.versions[""])
            (told,) = (await router.client.get("/load")).json()["data"]
            assert told["workers"] == 2
            return [one["worker"] for one in told["by_worker"]]

    assert asyncio.run(go()) == ["host/0", "host/1"]


def test_props_are_those_of_a_worker_or_are_not_there(serving: Serving) -> None:
    async def go() -> list[Any]:
        async with serving(gate=WorkerGate()) as client:
            worker = Worker("w", client, is_own=True)
            worker.up((Card("tiny", 256, "fp_test"),))
            router = Routing(Version("", 100.0, [worker]))
            told = await router.client.get("/props")
            own = await client.get("/props", headers=headers_of(worker))
            missing = await router.client.get("/props", params={"model": "other"})
            strange = await routed(FakeWorker(said("x"))).client.get("/props")
            worker.down()
            return [told, own, missing, strange, await router.client.get("/props")]

    told, own, missing, strange, down = asyncio.run(go())
    assert told.json() == own.json() and told.json()["model_alias"] == "tiny"
    assert [missing.status_code, strange.status_code, down.status_code] == [404, 400, 503]
    assert strange.json()["error"]["code"] == "not_available"


def answering(name: str, cards: tuple[Card, ...], **told: Any) -> Worker:
    """A worker that answers each path with some JSON."""
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, json=told[request.url.path.strip("/").replace("-", "_")])
    )
    worker = Worker(name, httpx.AsyncClient(transport=transport, base_url="http://w"))
    worker.up(cards)
    return worker


def test_slots_are_those_of_all_workers_for_admins_and_one_that_is_free_is_found() -> None:
    slots = [{"id": 0, "is_processing": True}, {"id": 1, "is_processing": True, "id_task": 7}]
    workers = [answering(name, (Card("tiny"),), slots=slots) for name in ("a", "b")]
    router = Routing(Version("", 1.0, workers), keys=KEYS)

    async def go() -> list[httpx.Response]:
        async def ask(key: str, query: str = "") -> httpx.Response:
            return await router.client.get(f"/slots{query}", headers={"x-api-key": key})

        seen = [await ask("root"), await ask("b"), await ask("root", "?fail_on_no_slot=1")]
        slots[1]["is_processing"] = False
        return [*seen, await ask("root", "?fail_on_no_slot=1")]

    answers = asyncio.run(go())
    assert [one.status_code for one in answers] == [200, 403, 503, 200]
    told = answers[0].json()
    assert [one["id"] for one in told] == [0, 1, 2, 3] and told[3]["id_task"] == 7


def test_adapters_by_their_numbers_are_those_that_a_key_may_use_and_their_scales_are_a_requests() -> None:
    cards = (Card("tiny"), Card("tiny:poet"), Card("tiny:cook"))
    listed = [{"id": 0, "name": "cook", "scale": 0.0}, {"id": 1, "name": "poet", "scale": 0.0}]
    router = Routing(Version("", 1.0, [answering("a", cards, lora_adapters=listed)]), keys=KEYS)
    scales = [{"id": 0, "scale": 1}]
    body = {"prompt": "a", "model": "tiny:poet", "lora": scales}

    async def go() -> list[httpx.Response]:
        a, b, root = ({"x-api-key": key} for key in ("a", "b", "root"))
        return [
            await router.client.get("/lora-adapters", headers=b),
            await router.client.get("/lora-adapters?model=tiny:poet", headers=a),
            await router.client.post("/lora-adapters", json=scales, headers=root),
            await router.client.post("/completion", json=body, headers=a),
        ]

    every, own, setting, strange = asyncio.run(go())
    assert (every.json(), own.json()) == (listed, listed[1:])
    assert setting.status_code == 400 and "with lora" in setting.json()["error"]["message"]
    assert (strange.status_code, strange.json()["error"]["param"]) == (403, "lora")
