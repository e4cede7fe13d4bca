"""A replica as Ray Serve holds it, without Ray: it answers who has the router's secret, at any path."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.server.config import ServeConfig
from llmkit.server.gate import Caller
from llmkit.server.handoff import SLOT_HEADER, pack_caller
from llmkit.workflows.serve.ray_replica import Replica
from llmkit.workflows.serve.worker import WorkerSettings, encode_settings
from tests.workflows.serve.test_replicas import write_model


def test_it_answers_its_router_tells_its_health_and_ends(byte_level_dir: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "m", byte_level_dir, 1)
    engine = GenerateConfig(threads=1, batch=2)
    serve = ServeConfig(version="v7", prompt_workers=1)
    settings = WorkerSettings(model=model, name="prod", tokenizer=None, serve=serve, engine=engine)
    body = {"model": "prod", "prompt": [5, 6, 7], "max_tokens": 2, "ignore_eos": True}

    async def go() -> None:
        replica: Any = Replica.__new__(Replica)
        await replica.__init__(encode_settings(settings), "word")
        transport = httpx.ASGITransport(replica.__serve_build_asgi_app__(), root_path="/prod")
        async with httpx.AsyncClient(transport=transport, base_url="http://ray/prod") as client:
            for secret, status in (("", 401), ("other", 401), ("word", 200)):
                head = {"authorization": f"Bearer {pack_caller(Caller(tenant='a'), secret)}"}
                answer = await client.post("/v1/completions", json=body, headers=head)
                assert answer.status_code == status
            assert answer.json()["system_fingerprint"].endswith("-v7") and SLOT_HEADER in answer.headers
            refused = await client.post("/v1/messages", json={}, headers=head)
            assert refused.json()["type"] == "error"  # in the words of its own path
        replica.check_health()
        await replica.close()
        while replica._state.models.all()[0].thread.is_alive:
            await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="dead"):
            replica.check_health()

    asyncio.run(go())
