"""A replica as Ray Serve holds it, without Ray: it answers who has the router's secret, at any path."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import ConfigError, MissingError
from llmkit.server.adapters import AdapterSpec
from llmkit.server.config import ServeConfig
from llmkit.server.errors import ApiError
from llmkit.server.gate import Caller
from llmkit.server.handoff import SLOT_HEADER, pack_caller
from llmkit.workflows.serve.ray_replica import (
    RayReplica,
    Replica,
    adapters_told,
    problem_line,
    read_problem,
)
from llmkit.workflows.serve.worker import WorkerSettings, encode_settings
from tests.workflows.serve.test_replicas import write_adapter, write_model


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
        await adapters_come_and_go(replica, tmp_path)
        await replica.close()
        while replica._state.models.all()[0].thread.is_alive:
            await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="dead"):
            replica.check_health()

    asyncio.run(go())


async def adapters_come_and_go(replica: Any, folder: Path) -> None:
    """As the router wants them; all that it is asked beside HTTP, it answers as on HTTP."""

    async def listed() -> list[str]:
        who, status, content = await replica.ask("GET", "/v1/models", None)
        assert who.endswith(f"/{os.getpid()}") and status == 200
        return [one["id"] for one in json.loads(content)["data"]]

    poet, other = (AdapterSpec(name, str(write_adapter(folder / name))) for name in ("poet", "other"))
    await replica.reconfigure(adapters_told([poet]))
    assert await listed() == ["prod", "prod:poet"]
    told = json.dumps({"lora_name": "other", "lora_path": other.path}).encode()
    assert (await replica.ask("POST", "/worker/adapters/load", told))[1] == 200
    await replica.reconfigure(adapters_told([poet, other]))  # it has both already
    assert await listed() == ["prod", "prod:poet", "prod:other"]
    await replica.reconfigure(adapters_told([other]))
    assert await listed() == ["prod", "prod:other"]
    with pytest.raises(ApiError, match="no adapter"):
        await replica.reconfigure(adapters_told([AdapterSpec("none", str(folder / "none"))]))


def test_what_is_wrong_comes_through_rays_report() -> None:
    error = MissingError('/m "x": no such model', hint="a folder")
    report = f"ray::ServeReplica\n  RuntimeError: {problem_line(error, 'b')}\nThe deployment failed."
    found = read_problem(report)
    assert isinstance(found, MissingError)
    assert found.problem == '/m "x": no such model (on the node b)' and "every node" in found.hint
    wrong = ConfigError("/m: 3 heads", hint="4 heads")
    found = read_problem(f"ray\n{problem_line(wrong, 'b')}")
    assert isinstance(found, ConfigError) and found.hint == "4 heads"
    assert read_problem("no reason") is None


def test_what_ray_opens_says_why_it_cannot(tmp_path: Path) -> None:
    settings = WorkerSettings(
        model=tmp_path / "none", name="m", tokenizer=None, serve=ServeConfig(), engine=GenerateConfig()
    )

    class Opened(RayReplica):
        def __del__(self) -> None:  # type: ignore[override]
            """Nobody is here to await it."""

    async def go() -> None:
        replica: Any = Opened.__new__(Opened)
        await replica.__init__(encode_settings(settings), "word")

    with pytest.raises(RuntimeError) as caught:
        asyncio.run(go())
    found = read_problem(str(caught.value))
    assert found is not None and str(tmp_path / "none") in found.problem and "on the node" in found.problem
