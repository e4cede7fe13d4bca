"""What Ray Serve is told of a version's replicas as it changes, and what comes of its answers."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import MissingError, ResourceError
from llmkit.server.adapters import AdapterSpec
from llmkit.server.config import ServeConfig
from llmkit.server.errors import ApiError
from llmkit.server.router.crew import Reply
from llmkit.workflows.serve import ray_crew
from llmkit.workflows.serve.ray_crew import RayCrew, troubles
from llmkit.workflows.serve.ray_replica import problem_line
from llmkit.workflows.serve.worker import WorkerSettings
from tests.workflows.serve.ray_made import FakeRay, FakeServe
from tests.workflows.serve.ray_nodes import NAME, Nodes, parent_of, raylet_of, replicas, serving_on
from tests.workflows.serve.test_replicas import (
    PATIENCE_SECONDS,
    SHORT,
    Server,
    write_adapter,
    write_model,
)

POET = AdapterSpec("poet", "/adapters/poet", 0.5)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> FakeServe:
    found = FakeServe()
    monkeypatch.setattr(ray_crew, "import_ray", lambda: (FakeRay(), found))
    return found


def settings(model: Path) -> WorkerSettings:
    serve, engine = ServeConfig(version="v1"), GenerateConfig(batch=6)
    return WorkerSettings(model=model, name="prod", tokenizer=None, serve=serve, engine=engine)


def crew() -> RayCrew:
    return RayCrew("prod:2", "http://head:8000", "word", {"num_replicas": 2})


def test_adapters_change_what_replicas_are_told_and_not_the_code_that_they_run(
    serve: FakeServe, tmp_path: Path
) -> None:
    async def go() -> None:
        made = crew()
        assert made.url == "http://head:8000/prod:2"
        await made.start(settings(tmp_path), [])
        await made.keep([POET])
        await made.replace(None, "v2")

    asyncio.run(go())
    first, second, third = serve.ran
    told = {"name": "poet", "path": "/adapters/poet", "strength": 0.5}
    assert first.user_config == {"adapters": []} and second.user_config == {"adapters": [told]}
    assert first.code and first.code == second.code != third.code  # other code: all are started anew
    assert third.user_config == second.user_config and third.settings.serve.version == "v2"
    assert {one.route for one in serve.ran} == {"/prod:2"} and first.num_replicas == 2


def test_what_cannot_be_is_undone_with_the_code_that_runs(serve: FakeServe, tmp_path: Path) -> None:
    first, broken = tmp_path / "first", tmp_path / "broken"
    for one in (first, broken):
        one.mkdir()
    serve.problems = {"broken": "Deploying app failed\nno weights"}

    async def go() -> None:
        made = crew()
        await made.start(settings(first), [POET])
        with pytest.raises(ResourceError, match="no weights"):
            await made.replace(str(broken), "v3")
        with pytest.raises(MissingError, match="no such model"):
            await made.replace(str(tmp_path / "none"), None)

    asyncio.run(go())
    before, after = serve.ran
    assert before.code == after.code and after.settings.model == first
    assert after.user_config == before.user_config


def test_a_replica_that_cannot_serve_says_where_and_why(serve: FakeServe, tmp_path: Path) -> None:
    serve.problems = {tmp_path.name: MissingError("/models/m: no such model", hint="a folder")}
    with pytest.raises(MissingError, match=r"/models/m: no such model \(on the node node-b\)") as caught:
        asyncio.run(crew().start(settings(tmp_path), []))
    assert "every node" in caught.value.hint


def test_all_are_asked_and_those_that_are_lost_are_left_out(serve: FakeServe) -> None:
    class ActorDiedError(Exception):
        pass

    serve.replies = lambda: [("a/1", 200, b"x"), ActorDiedError()]
    replies = asyncio.run(crew().ask("POST", "/load", b"{}", seconds=3))
    assert replies == [Reply("a/1", 200, b"x")]
    assert serve.asked == [("prod:2", "ask", "POST", "/load", b"{}")]


@pytest.mark.parametrize("replies", [[], [TimeoutError(), ("a/1", 200, b"x")], None])
def test_where_none_answers_or_one_is_late_nobody_knows_what_all_have(
    replies: list[object] | None, serve: FakeServe
) -> None:
    def answer() -> list[object]:
        if replies is None:
            raise TimeoutError
        return replies

    serve.replies = answer
    with pytest.raises(ApiError, match="prod:2 do not answer") as caught:
        asyncio.run(crew().ask("GET", "/load", None, seconds=3))
    assert caught.value.status == 503


def test_ray_serve_is_told_of_one_deployment_at_a_time(serve: FakeServe, tmp_path: Path) -> None:
    """Its own code for it is not for several threads."""
    inside, most = 0, 0
    run = serve.run_many

    def slow(targets: Any, **options: Any) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.02)
        run(targets, **options)
        inside -= 1

    serve.run_many = slow  # type: ignore[method-assign]

    async def go() -> None:
        await asyncio.gather(*(crew().start(settings(tmp_path), []) for _ in range(4)))

    asyncio.run(go())
    assert (most, len(serve.ran)) == (1, 4)


def test_what_waits_for_room_is_ended_before_it_has_any(serve: FakeServe, tmp_path: Path) -> None:
    serve.is_full = True

    async def go() -> None:
        made = crew()
        starting = asyncio.create_task(made.start(settings(tmp_path), []))
        while not serve.ran:
            await asyncio.sleep(0.001)
        await made.end()
        with pytest.raises(ResourceError, match="was ended before it ran"):
            await starting
        assert made.is_over

    asyncio.run(asyncio.wait_for(go(), 20))
    assert serve.deleted == ["prod:2"]


def test_trouble_is_told_in_one_line_and_health_is_not(serve: FakeServe) -> None:
    line = problem_line(MissingError("/m: no such model", hint="h"), "b")
    serve.messages = {
        "good": ("HEALTHY", "all is well"),
        "still": ("UPDATING", ""),
        "full": ("UPDATING", "no room for one\nand more"),
        "lost": ("UNHEALTHY", f"a report\n{line}\n"),
    }
    assert troubles() == {"full": "no room for one", "lost": "/m: no such model (on the node b)"}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    pytest.importorskip("ray.serve", reason="ray[serve] is not installed")
    made = Nodes()
    yield made
    made.close()


@pytest.mark.filterwarnings("default")  # Ray's own
def test_on_two_nodes_all_replicas_have_what_was_loaded_and_a_lost_node_costs_no_request(
    nodes: Nodes, byte_level_dir: Path, tmp_path: Path
) -> None:
    first, second = (write_model(tmp_path / f"m{seed}", byte_level_dir, seed) for seed in (1, 2))
    poet = {"lora_name": "poet", "lora_path": str(write_adapter(tmp_path / "poet"))}
    one, two = nodes.add(), nodes.add()
    with serving_on(nodes, first, second, tmp_path) as server:
        before = replicas(server)
        assert sorted(map(parent_of, before)) == sorted(map(raylet_of, (one, two)))
        plain, written = texts(server, NAME), texts_with(server, poet)
        assert len(plain) == len(written) == 1 and plain != written
        assert replicas(server) == before  # they were told, and not started anew

        answers = server.load(24, lambda: nodes.kill(two))
        assert [answer.status_code for answer in answers] == [200] * 24
        left = [pid for pid in before if parent_of(pid) == raylet_of(one)]
        server.until(lambda: replicas(server) == left)
        three = nodes.add()
        server.until(lambda: len(replicas(server)) == 2)
        assert {parent_of(pid) for pid in replicas(server)} == {raylet_of(one), raylet_of(three)}
        assert texts(server, f"{NAME}:poet") == written  # of the one that came later too

        wrong = {"path": str(tmp_path / "poet"), "version": "v2"}
        refused = server.admin.post(f"/admin/models/{NAME}/reload", json=wrong)
        assert refused.status_code == 400 and "on the node" in refused.json()["error"]["message"]
        assert texts(server, f"{NAME}:poet") == written

        done = server.admin.post("/v1/unload_lora_adapter", json={"lora_name": "poet"}).json()
        assert (done["freed"], done["workers"]) == (True, 2)
        statuses = {ask(server, f"{NAME}:poet").status_code for _ in range(6)}
        assert statuses == {404}
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_SECONDS) == 0
    assert all(not parent_of(pid) for pid in before)


def ask(server: Server, model: str) -> httpx.Response:
    return server.client.post("/v1/completions", json={**SHORT, "temperature": 0, "model": model})


def texts(server: Server, model: str) -> set[str]:
    """What several requests are answered, wherever they go."""
    answers = [ask(server, model) for _ in range(8)]
    assert {answer.status_code for answer in answers} == {200}
    return {answer.json()["choices"][0]["text"] for answer in answers}


def texts_with(server: Server, adapter: dict[str, str]) -> set[str]:
    """The same with an adapter that is loaded now, into both."""
    loaded = server.admin.post("/v1/load_lora_adapter", json=adapter)
    assert loaded.status_code == 200 and loaded.json()["workers"] == 2, loaded.text
    return texts(server, f"{NAME}:{adapter['lora_name']}")
