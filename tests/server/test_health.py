"""Health is the engine's; readiness ends before the server does."""

import asyncio

from tests.server.conftest import Serving


def test_a_dead_engine_is_503_and_so_is_a_server_that_drains(serving: Serving) -> None:
    async def ask() -> list[tuple[int, str]]:
        async with serving() as client:
            found = []
            for path in ("/health", "/ready"):
                answer = await client.get(path)
                found.append((answer.status_code, answer.json()["status"]))
            client.app.state.serve.draining = True  # type: ignore[attr-defined]
            for path in ("/health", "/ready"):
                answer = await client.get(path)
                found.append((answer.status_code, answer.json()["status"]))
            refused = await client.post("/v1/completions", json={"prompt": "a"})
            found.append((refused.status_code, refused.json()["error"]["code"]))
            await client.thread.stop()  # type: ignore[attr-defined]
            answer = await client.get("/health")
            found.append((answer.status_code, answer.json()["status"]))
            return found

    assert asyncio.run(ask()) == [
        *((200, "ok"), (200, "ok"), (200, "ok"), (503, "draining")),
        *((503, "draining"), (503, "dead")),
    ]
