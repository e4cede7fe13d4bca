"""Which cluster is joined, where its proxy is reached, and what a replica has of its node."""

import sys
from typing import Any

import pytest

from llmkit.errors import LlmkitError, MissingError, ResourceError, UsageError
from llmkit.workflows.serve import ray_cluster
from llmkit.workflows.serve.ray_cluster import (
    ADDRESS,
    SERVE_PORT,
    Share,
    door_url,
    join_cluster,
    leave_cluster,
    share_of,
)
from tests.workflows.serve.ray_made import FakeRay, FakeServe, node


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> tuple[FakeRay, FakeServe]:
    ray, serve = FakeRay(), FakeServe()
    monkeypatch.setattr(ray_cluster, "import_ray", lambda: (ray, serve))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")
    monkeypatch.delenv(ADDRESS, raising=False)
    return ray, serve


def test_without_an_address_ray_is_started_here_and_ends_with_us(made: tuple[FakeRay, FakeServe]) -> None:
    ray, serve = made
    cluster = join_cluster()
    (listens,) = serve.started
    assert listens["http_options"]["host"] == "127.0.0.1"
    assert cluster.is_ours and cluster.url == f"http://127.0.0.1:{listens['http_options']['port']}"
    assert ray.joined[0]["address"] == "local"  # none that happens to run here, and is somebody's
    leave_cluster(cluster)
    assert serve.deleted == ["all"] and ray.left == 1


def test_a_cluster_that_was_there_before_stays(
    made: tuple[FakeRay, FakeServe], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray, serve = made
    monkeypatch.setenv(ADDRESS, "10.0.0.1:6379")
    cluster = join_cluster()
    assert not cluster.is_ours and ray.joined[0]["address"] == "auto"
    leave_cluster(cluster)
    assert serve.deleted == [] and ray.left == 1


def test_from_another_machine_the_proxy_of_the_head_is_asked(
    made: tuple[FakeRay, FakeServe], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray, serve = made
    monkeypatch.setenv(ADDRESS, "10.0.0.1:6379")
    ray.here = "10.0.0.2"
    ray.nodes_there += [node("10.0.0.2", CPU=8.0), node("10.0.0.3", alive=False, CPU=1.0)]
    cluster = join_cluster()
    assert cluster.url == f"http://10.0.0.1:{SERVE_PORT}"
    assert [one["CPU"] for one in cluster.nodes] == [4.0, 8.0]
    assert serve.started[0]["http_options"] == {"host": "10.0.0.1", "port": SERVE_PORT}


@pytest.mark.parametrize(
    ("host", "is_head", "url"),
    [
        ("0.0.0.0", True, "http://127.0.0.1:9"),
        ("localhost", True, "http://127.0.0.1:9"),
        ("10.0.0.9", True, "http://10.0.0.9:9"),
        ("0.0.0.0", False, "http://head:9"),
        ("10.0.0.9", False, "http://10.0.0.9:9"),
    ],
)
def test_a_proxy_that_was_there_before_is_asked_where_it_listens(host: str, is_head: bool, url: str) -> None:
    assert door_url(host, 9, "head", is_head=is_head) == url


def test_a_proxy_that_listens_on_the_head_alone_is_said_to(
    made: tuple[FakeRay, FakeServe], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray, serve = made
    monkeypatch.setenv(ADDRESS, "10.0.0.1:6379")
    ray.here = "10.0.0.2"
    serve.start(http_options={"host": "127.0.0.1", "port": 7000})
    with pytest.raises(ResourceError, match=r"listens on 127.0.0.1 of 10.0.0.1 alone") as caught:
        join_cluster()
    assert "0.0.0.0" in caught.value.hint


@pytest.mark.parametrize(
    ("address", "fails", "kind", "match"),
    [
        ("ray://head:10001", None, UsageError, "no part of the cluster"),
        ("head:6379", ConnectionError("no such head\nmore"), ResourceError, "head:6379: no such head$"),
        (None, RuntimeError(""), ResourceError, "Ray does not start: RuntimeError"),
    ],
)
def test_what_cannot_be_joined_is_said_in_one_line(
    address: str | None,
    fails: Exception | None,
    kind: type[LlmkitError],
    match: str,
    made: tuple[FakeRay, FakeServe],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made[0].fails = fails
    if address is not None:
        monkeypatch.setenv(ADDRESS, address)
    with pytest.raises(kind, match=match):
        join_cluster()


@pytest.mark.parametrize(
    ("nodes", "most", "device", "share"),
    [
        ([{"CPU": 8.0}], 2, "cpu", Share(4, 0.0)),
        ([{"CPU": 0.0}, {"CPU": 8.0}, {"CPU": 4.0}], 2, "auto", Share(4, 0.0)),
        ([{"CPU": 8.0}] * 2, 3, "auto", Share(4, 0.0)),
        ([{"CPU": 2.0}], 9, "auto", Share(1, 0.0)),
        ([{}], 1, "auto", Share(1, 0.0)),
        ([{"CPU": 8.0, "GPU": 2.0}] * 2, 4, "auto", Share(4, 1.0)),
        ([{"CPU": 8.0, "GPU": 2.0}] * 2, 4, "cpu", Share(4, 0.0)),
        ([{"CPU": 8.0, "GPU": 2.0}], 3, "cuda", Share(2, 0.5)),
        ([{"CPU": 8.0, "GPU": 1.0}], 3, "cuda:0", Share(2, 0.3333)),
        ([{"CPU": 8.0}], 1, "cuda", Share(8, 1.0)),
    ],
)
def test_a_replica_has_its_share_of_cores_and_a_gpu_where_there_are_enough(
    nodes: list[dict[str, float]], most: int, device: str, share: Share
) -> None:
    assert share_of(nodes, most, device) == share


def test_a_replica_in_parts_has_a_gpu_for_each() -> None:
    assert share_of([{"CPU": 8.0, "GPU": 4.0}], 2, "auto", parts=2) == Share(4, 2.0)
    assert share_of([{"CPU": 8.0}], 2, "auto", parts=2) == Share(4, 0.0)


def test_without_ray_that_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError) as caught:
        join_cluster()
    assert "llmkit[ray]" in caught.value.hint


def test_what_ray_is_asked_for_is_there() -> None:
    serve: Any = pytest.importorskip("ray.serve", reason="ray[serve] is not installed")
    from ray.serve._private.client import ServeControllerClient
    from ray.serve.handle import DeploymentHandle

    assert callable(serve.context._get_global_client)
    assert isinstance(ServeControllerClient.http_config, property)
    assert callable(DeploymentHandle.broadcast)
