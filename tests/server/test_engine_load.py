"""The load of an engine is what it is busy with."""

import asyncio

from tests.server.conftest import Serving


def test_an_engine_at_rest_has_every_block_free_and_remembers_what_it_did(serving: Serving) -> None:
    async def ask() -> tuple[int, int, int, int]:
        async with serving() as client:
            await client.post("/v1/completions", json={"prompt": "a", "max_tokens": 4, "ignore_eos": True})
            load = client.thread.load()  # type: ignore[attr-defined]
            return load.running, load.waiting, load.blocks - load.free_blocks, load.drawn_tokens

    assert asyncio.run(ask()) == (0, 0, 0, 4)
