"""What Ray Serve is told of a model. Under load with Ray itself: tests/server_load/ray_serve.py."""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import MissingError, ResourceError
from llmkit.server.config import ServeConfig
from llmkit.server.router.config import RouterConfig
from llmkit.workflows.serve import ray as serve_ray
from llmkit.workflows.serve.ray import RayServe
from llmkit.workflows.serve.ray_replica import RayReplica
from llmkit.workflows.serve.worker import WorkerSettings, read_settings


class FakeServe:
    """Takes down what it is told."""

    def __init__(self) -> None:
        self.deployed: list[dict[str, Any]] = []
        self.ran: list[WorkerSettings] = []
        self.started: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.broken = ""

    def start(self, **options: Any) -> None:
        self.started.append(options)

    def ingress(self) -> Any:
        return lambda kind: kind

    def deployment(self, kind: type, **options: Any) -> Any:
        assert kind is RayReplica
        self.deployed.append(options)
        return SimpleNamespace(bind=lambda settings, secret: read_settings(settings))

    def run(self, settings: WorkerSettings, **options: Any) -> None:
        if settings.model.name == self.broken:
            raise RuntimeError("Deploying app failed\nno weights")
        self.ran.append(settings)

    def delete(self, name: str) -> None:
        self.deleted.append(name)

    def shutdown(self) -> None:
        self.deleted.append("all")


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> FakeServe:
    found = FakeServe()
    ray = SimpleNamespace(init=lambda **options: None, shutdown=lambda: None)
    monkeypatch.setattr(serve_ray, "_import_ray", lambda: (ray, found))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return found


def settings(model: Path) -> WorkerSettings:
    return WorkerSettings(
        model=model,
        name="prod",
        tokenizer=None,
        serve=ServeConfig(version="v1"),
        engine=GenerateConfig(batch=6),
    )


@pytest.mark.parametrize("most", [None, 5])
def test_a_model_is_a_deployment_of_as_many_replicas_as_are_wanted(
    most: int | None, serve: FakeServe, tmp_path: Path
) -> None:
    ray = RayServe(RouterConfig(engine="ray", replicas=2, max_replicas=most), 7.0)
    url = asyncio.run(ray.start(settings(tmp_path)))
    (told,), (listens,) = serve.deployed, serve.started
    assert url == f"http://127.0.0.1:{listens['http_options']['port']}/prod"
    assert listens["http_options"]["host"] == "127.0.0.1"
    assert (told["name"], told["graceful_shutdown_timeout_s"]) == ("prod", 7.0)
    scaled = {"min_replicas": 2, "max_replicas": 5, "target_ongoing_requests": 6}
    assert told.get("num_replicas") == (2 if most is None else None)
    assert told.get("autoscaling_config") == (None if most is None else scaled)


def test_other_weights_take_the_place_and_what_cannot_be_served_does_not(
    serve: FakeServe, tmp_path: Path
) -> None:
    first, second, broken = (tmp_path / name for name in ("first", "second", "broken"))
    for one in (first, second, broken):
        one.mkdir()
    serve.broken = "broken"

    async def go() -> None:
        ray = RayServe(RouterConfig(engine="ray"), 7.0)
        await ray.start(settings(first))
        await ray.replace("prod", str(second), "v2")
        with pytest.raises(ResourceError, match="no weights"):
            await ray.replace("prod", str(broken), "v3")
        with pytest.raises(MissingError, match="no such model"):
            await ray.replace("prod", str(tmp_path / "none"), None)
        await ray.close()

    asyncio.run(go())
    versions = [(one.model.name, one.serve.version) for one in serve.ran]
    assert versions == [("first", "v1"), ("second", "v2"), ("second", "v2")]
    assert serve.deleted == ["prod", "all"]


def test_without_ray_that_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError) as caught:
        asyncio.run(RayServe(RouterConfig(engine="ray"), 7.0).start(settings(Path("m"))))
    assert "llmkit[ray]" in caught.value.hint


def test_ray_serve_takes_a_replica_for_what_answers_requests() -> None:
    real = pytest.importorskip("ray.serve", reason="ray[serve] is not installed")
    made = real.deployment(real.ingress()(RayReplica), name="prod")
    assert made.name == "prod"
