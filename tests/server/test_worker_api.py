"""A worker's adapters, asked for by its router alone."""

import asyncio
from typing import Any

from llmkit.server.gate import Caller
from llmkit.server.handoff import WorkerGate, pack_caller
from tests.server.adapters_made import BYTES, read
from tests.server.conftest import Serving

ROUTER = {"authorization": f"Bearer {pack_caller(Caller())}"}
LOAD = {"lora_name": "poet", "lora_path": "one"}


def test_a_router_loads_looks_and_unloads(serving: Serving) -> None:
    async def go() -> None:
        async with serving(read=read, behind_router=True, gate=WorkerGate()) as client:
            client.headers.update(ROUTER)
            loaded = (await client.post("/worker/adapters/load", json=LOAD)).json()
            assert (loaded["id"], loaded["bytes"]) == ("tiny:poet", BYTES)
            assert (await client.get("/worker/adapters")).json()["data"] == [loaded]
            assert (await client.post("/worker/adapters/load", json=LOAD)).status_code == 409
            told: dict[str, Any] = {"lora_name": "poet"}
            assert (await client.post("/worker/adapters/unload", json=told)).json()["freed"] is True
            assert (await client.post("/worker/adapters/unload", json=told)).status_code == 404

    asyncio.run(go())


def test_nobody_else_does(serving: Serving) -> None:
    async def go() -> list[int]:
        found = []
        async with serving(read=read, behind_router=True, gate=WorkerGate()) as client:
            found.append((await client.post("/worker/adapters/load", json=LOAD)).status_code)
        async with serving(read=read) as client:  # a server for clients has no such route
            found.append((await client.post("/worker/adapters/load", json=LOAD)).status_code)
            found.append((await client.post("/v1/load_lora_adapter", json=LOAD)).status_code)
        return found

    assert asyncio.run(go()) == [401, 404, 404]
