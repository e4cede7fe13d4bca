"""What Ray Serve is told of models. With Ray itself: tests/server_load/ray_serve.py, ray_cluster.py."""

import asyncio
import logging
from pathlib import Path

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import ResourceError
from llmkit.server.config import ServeConfig
from llmkit.server.router.config import RouterConfig
from llmkit.workflows.serve import ray as serve_ray
from llmkit.workflows.serve import ray_cluster, ray_crew
from llmkit.workflows.serve.ray import RayServe
from llmkit.workflows.serve.ray_replica import RayReplica
from llmkit.workflows.serve.worker import WorkerSettings
from tests.workflows.serve.ray_made import FakeRay, FakeServe, node


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    return FakeRay()


@pytest.fixture
def serve(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> FakeServe:
    found = FakeServe()
    for module in (ray_cluster, ray_crew):
        monkeypatch.setattr(module, "import_ray", lambda: (ray, found))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return found


def settings(model: Path, threads: int | None = 1) -> WorkerSettings:
    serve, engine = ServeConfig(version="v1"), GenerateConfig(batch=6, threads=threads)
    return WorkerSettings(model=model, name="prod", tokenizer=None, serve=serve, engine=engine)


@pytest.mark.parametrize("most", [None, 5])
def test_a_model_is_a_deployment_of_as_many_replicas_as_are_wanted(
    most: int | None, serve: FakeServe, tmp_path: Path
) -> None:
    async def go() -> str:
        made = RayServe(RouterConfig(engine="ray", replicas=2, max_replicas=most), 7.0)
        crew = await made.start(settings(tmp_path), 2)
        await made.close()
        return crew.url

    url = asyncio.run(go())
    (told,), (listens,) = serve.deployed, serve.started
    assert url == f"http://127.0.0.1:{listens['http_options']['port']}/prod:1"
    assert (told["name"], told["graceful_shutdown_timeout_s"]) == ("prod", 7.0)
    scaled = {"min_replicas": 2, "max_replicas": 5, "target_ongoing_requests": 6}
    assert told.get("num_replicas") == (2 if most is None else None)
    assert told.get("autoscaling_config") == (None if most is None else scaled)
    assert told["ray_actor_options"] == {"num_cpus": 0, "num_gpus": 0.0}
    assert serve.deleted == ["prod:1", "all"]


@pytest.mark.parametrize(("given", "threads", "cpus"), [(None, 4, 1), (3, 3, 3)])
def test_on_a_cluster_a_replica_has_the_cores_that_it_asks_for_or_its_share(
    given: int | None,
    threads: int,
    cpus: int,
    ray: FakeRay,
    serve: FakeServe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    ray.nodes_there = [node("10.0.0.1", head=True, CPU=4.0, GPU=1.0), node("10.0.0.2", CPU=8.0, GPU=1.0)]

    async def go() -> None:
        made = RayServe(RouterConfig(engine="ray", replicas=2), 7.0, threads=given)
        await made.start(settings(tmp_path), 2)
        await made.close()

    asyncio.run(go())
    assert serve.ran[0].settings.engine.threads == threads
    assert serve.deployed[0]["ray_actor_options"] == {"num_cpus": cpus, "num_gpus": 1.0}
    assert serve.deleted == ["prod:1"]  # the cluster is somebody else's


def test_each_version_of_a_model_is_an_application_of_its_own(serve: FakeServe, tmp_path: Path) -> None:
    async def go() -> list[str]:
        made = RayServe(RouterConfig(engine="ray"), 7.0, versions=2)
        first, second = [await made.start(settings(tmp_path), 1) for _ in range(2)]
        await first.end()
        third = await made.start(settings(tmp_path), 1)
        await made.close()
        return [first.app, second.app, third.app]

    assert asyncio.run(go()) == ["prod:1", "prod:2", "prod:1"]
    assert len(serve.started) == 1 and serve.deleted == ["prod:1", "prod:1", "prod:2", "all"]


def test_what_a_killed_router_left_on_a_cluster_is_ended_and_what_is_anothers_is_not(
    serve: FakeServe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    left = ("prod:1", "prod:12", "prod", "prod:x", "other:1", "myprod:1")
    serve.messages = {name: ("HEALTHY", "") for name in left}

    async def go() -> None:
        made = RayServe(RouterConfig(engine="ray"), 7.0)
        await made.start(settings(tmp_path), 1)
        await made.start(settings(tmp_path), 1)
        assert serve.deleted == ["prod:1", "prod:12"]  # once, before the first
        await made.close()

    asyncio.run(go())


def test_a_version_that_does_not_start_leaves_nothing_behind(serve: FakeServe, tmp_path: Path) -> None:
    serve.problems = {tmp_path.name: "no reason"}

    async def go() -> None:
        made = RayServe(RouterConfig(engine="ray"), 7.0)
        with pytest.raises(ResourceError, match="no reason"):
            await made.start(settings(tmp_path), 1)
        assert serve.deleted == ["prod:1"]
        serve.problems = {}
        assert (await made.start(settings(tmp_path), 1)).app == "prod:1"
        await made.close()

    asyncio.run(go())


def test_nobody_waits_for_room_where_all_is_about_to_end(serve: FakeServe, tmp_path: Path) -> None:
    async def go() -> None:
        made = RayServe(RouterConfig(engine="ray"), 7.0)
        await made.start(settings(tmp_path), 1)
        serve.is_full = True
        second = asyncio.create_task(made.start(settings(tmp_path), 1))
        while len(serve.ran) < 2:
            await asyncio.sleep(0.001)
        made.stop_waiting()
        with pytest.raises(ResourceError, match="prod:2: was ended before it ran"):
            await second
        await made.close()

    asyncio.run(asyncio.wait_for(go(), 20))
    assert serve.deleted == ["prod:2", "prod:1", "all"]


def test_what_ray_has_trouble_with_is_said_once(
    serve: FakeServe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serve_ray, "NOTE_SECONDS", 0.001)

    async def go() -> None:
        made = RayServe(RouterConfig(engine="ray"), 7.0)
        await made.start(settings(tmp_path), 1)
        serve.messages = {"prod:1": ("UPDATING", "no room"), "another's": ("UPDATING", "no room")}
        while not caplog.records:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        serve.messages = {"prod:1": ("UNHEALTHY", "worse")}
        while len(caplog.records) < 2:
            await asyncio.sleep(0.001)
        await made.close()

    with caplog.at_level(logging.WARNING, logger="llmkit.serve"):
        asyncio.run(asyncio.wait_for(go(), 20))
    assert [one.getMessage() for one in caplog.records] == ["prod:1: no room", "prod:1: worse"]


def test_ray_serve_takes_a_replica_for_what_answers_requests() -> None:
    real = pytest.importorskip("ray.serve", reason="ray[serve] is not installed")
    made = real.deployment(real.ingress()(RayReplica), name="prod")
    assert made.name == "prod"
