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


def test_what_a_plain_answer_took_that_was_given_up_is_told_once(serving: Serving) -> None:
    async def go() -> None:
        async with serving(behind_router=True, gate=WorkerGate()) as client:
            client.headers.update(ROUTER)
            body = {"prompt": "the fox", "max_tokens": 200, "ignore_eos": True}
            asking = asyncio.create_task(
                client.post("/v1/completions", json=body, headers={"x-request-id": "mine"})
            )
            async with asyncio.timeout(30):
                while not (await client.get("/load")).json()["data"][0]["drawn_tokens"]:
                    await asyncio.sleep(0.001)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            took = (await client.post("/worker/left/mine")).json()["took"].split()
            assert int(took[0]) > 0 and 0 < int(took[2]) < 200 and float(took[3]) > 0
            assert (await client.post("/worker/left/mine")).status_code == 404

    asyncio.run(go())
