"""Versions are added, weighed, replaced and taken away while requests are answered."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError
from llmkit.server.errors import ApiError
from llmkit.server.router.fleet import Fleet, Version
from llmkit.server.router.manage import Manager, Source
from llmkit.server.router.supervisor import Launch, Supervisor
from llmkit.server.router.worker import Worker
from tests.server.router.fakes import FakeWorker, Routing, said


class Started(Supervisor):
    """A supervisor whose workers are in this process: they say the path that they were started with."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped: list[str] = []

    async def start(self, worker: Worker, launch: Launch) -> None:
        """Start it."""
        path = launch.command[0]
        if path == "broken":
            raise DataError("no weights", hint="look")
        fake = FakeWorker(said(path))
        worker.client = fake.worker.client
        worker.up(fake.worker.cards)

    async def stop(self, worker: Worker, *, at_once: bool = False) -> None:
        """End it."""
        worker.state = "stopped"
        self.stopped.append(worker.id)


@contextlib.asynccontextmanager
async def managed() -> AsyncIterator[tuple[Manager, Routing, Started]]:
    fleet, supervisor = Fleet(), Started()
    manager = Manager(
        fleet,
        supervisor,
        lambda source, socket: Launch((source.path,), b""),
        Path("sockets"),
        drain_seconds=5.0,
    )
    await manager.add(source("one", "v1", 100.0))
    yield manager, Routing(fleet=fleet), supervisor
    await manager.close()


def source(path: str, version: str, weight: float, **more: Any) -> Source:
    return Source(
        **{"model": "tiny", "path": path, "version": version, "weight": weight, "replicas": 2, **more}
    )


async def text(router: Routing) -> str:
    answer = await router.complete()
    return str(answer.json()["choices"][0]["text"])


def test_a_version_that_is_added_gets_what_its_weight_says() -> None:
    async def scenario() -> list[str]:
        async with managed() as (manager, router, _):
            await manager.add(source("two", "v2", 0.0))
            seen = [await text(router)]
            manager.weigh("tiny", {"v2": 1.0})
            return [*seen, await text(router)]

    assert asyncio.run(scenario()) == ["one", "two"]


def test_a_reload_lets_running_requests_end_before_the_old_workers_do() -> None:
    async def scenario() -> None:
        async with managed() as (manager, router, supervisor):
            old = list(router.fleet.workers())
            lease = old[0].take(1, 1)
            await manager.reload("tiny", "two", None)
            assert await text(router) == "two" and len(list(router.fleet.workers())) == 2
            await asyncio.sleep(0.05)
            assert supervisor.stopped == [old[1].id] and old[0].state == "draining"
            lease.close()
            await manager.close()
            assert {one.state for one in old} == {"stopped"}

    asyncio.run(scenario())


def test_a_reload_that_fails_leaves_everything_as_it_was() -> None:
    async def scenario() -> None:
        async with managed() as (manager, router, supervisor):
            with pytest.raises(ApiError, match="no weights") as caught:
                await manager.reload("tiny", "broken", None)
            assert caught.value.status == 400 and await text(router) == "one"
            assert len(supervisor.stopped) == 2  # of the new one
            assert all(one.takes_requests for one in router.fleet.workers())

    asyncio.run(scenario())


@pytest.mark.parametrize("failing", ["v1", "v2"])
def test_a_main_version_that_is_reloaded_stays_the_old_one_of_the_two(failing: str) -> None:
    async def scenario() -> dict[str, float]:
        async with managed() as (manager, router, _):
            await manager.add(source("two", "v2", 10.0))
            await manager.reload("tiny", "three", None)
            group = router.fleet.groups["tiny"]
            for _ in range(40):
                router.fleet.went(group, group.versions[failing], failed=True)
            return {name: one.weight for name, one in group.versions.items()}

    weights = asyncio.run(scenario())
    assert weights == ({"v1": 110.0, "v2": 0.0} if failing == "v2" else {"v1": 100.0, "v2": 10.0})


def test_weights_that_are_told_during_a_reload_hold_after_it() -> None:
    async def scenario() -> dict[str, float]:
        async with managed() as (manager, router, supervisor):
            await manager.add(source("two", "v2", 10.0))
            start = supervisor.start

            async def slow(worker: Worker, launch: Launch) -> None:
                manager.weigh("tiny", {"v1": 60.0, "v2": 40.0})
                await start(worker, launch)

            supervisor.start = slow  # type: ignore[method-assign]
            await manager.reload("tiny", "three", "v3")
            return {name: one.weight for name, one in router.fleet.groups["tiny"].versions.items()}

    assert asyncio.run(scenario()) == {"v3": 60.0, "v2": 40.0}


class FakeCrew:
    """Replicas that somebody else keeps alive."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, ...]] = []
        self.is_over = False

    async def replace(self, path: str | None, version: str | None) -> None:
        self.asked.append((path, version))
        if path == "broken":
            raise DataError("no weights", hint="look")

    async def end(self) -> None:
        self.is_over = True


@contextlib.asynccontextmanager
async def deployed() -> AsyncIterator[tuple[Manager, Fleet, list[FakeCrew]]]:
    """A manager whose versions somebody else starts; the first is v1."""
    fleet, crews = Fleet(), list[FakeCrew]()

    async def deploy(told: Source) -> Version:
        if told.path == "broken":
            raise DataError("no weights", hint="look")
        crews.append(FakeCrew())
        fake = FakeWorker(said(told.path), name=told.path, is_own=False)
        fake.worker.secret = "word"
        fake.worker.crew = crews[-1]  # type: ignore[assignment]
        fake.worker.cards = ()
        return Version(told.version, told.weight, [fake.worker], told.path)

    manager = Manager(
        fleet,
        Started(),
        lambda source, socket: Launch((source.path,), b""),
        Path("sockets"),
        drain_seconds=5.0,
        deploy=deploy,
    )
    await manager.add(source("one", "v1", 100.0))
    yield manager, fleet, crews
    await manager.close()


def test_what_somebody_else_keeps_alive_for_us_is_replaced_by_them() -> None:
    async def scenario() -> None:
        async with deployed() as (manager, fleet, (crew,)):
            await manager.reload("tiny", "two", "v2")
            (version,) = fleet.groups["tiny"].versions.values()
            assert (version.name, version.path) == ("v2", "two")
            assert list(fleet.groups["tiny"].versions) == ["v2"]
            assert [card.id for card in version.workers[0].cards] == ["tiny"]  # asked again
            await manager.reload("tiny", None, None)
            with pytest.raises(ApiError, match="no weights") as caught:
                await manager.reload("tiny", "broken", "v3")
            assert caught.value.status == 400 and version.path == "two"
            assert crew.asked == [("two", "v2"), ("two", "v2"), ("broken", "v3")]

    asyncio.run(scenario())


def test_their_versions_come_and_go_as_ours_do() -> None:
    async def scenario() -> None:
        async with deployed() as (manager, fleet, crews):
            await manager.add(source("two", "v2", 50.0))
            assert list(fleet.groups["tiny"].versions) == ["v1", "v2"]
            with pytest.raises(ApiError, match="no weights"):
                await manager.add(source("broken", "v3", 50.0))
            await manager.remove("tiny", "v1")
            await manager.close()
            assert [one.is_over for one in crews] == [True, False]

    asyncio.run(scenario())


def test_a_version_that_is_removed_gets_nothing_more() -> None:
    async def scenario() -> None:
        async with managed() as (manager, router, supervisor):
            await manager.add(source("two", "v2", 50.0))
            await manager.remove("tiny", "v1")
            assert await text(router) == "two"
            await manager.close()
            assert len(supervisor.stopped) == 2
            with pytest.raises(ApiError, match="last one with a weight"):
                await manager.remove("tiny", "v2")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"version": "v1"}, 409),
        ({"replicas": 0}, 400),
        ({"replicas": 10**6}, 400),
        ({"weight": -1.0}, 400),
        ({"model": "a:b"}, 400),
        ({"path": "broken"}, 400),
    ],
)
def test_a_version_that_cannot_be_is_refused(change: dict[str, Any], status: int) -> None:
    async def scenario() -> int:
        async with managed() as (manager, _, _):
            with pytest.raises(ApiError) as caught:
                await manager.add(source(**{"path": "two", "version": "v2", "weight": 1.0, **change}))
            return caught.value.status

    assert asyncio.run(scenario()) == status
