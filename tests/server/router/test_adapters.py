"""Behind a router all workers of a model have an adapter, or none; those that come later have it too."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from llmkit.errors import ConfigError, MissingError
from llmkit.server.adapters import AdapterSpec
from llmkit.server.errors import ApiError
from llmkit.server.handoff import WorkerGate
from llmkit.server.router.adapters import FleetAdapters
from llmkit.server.router.fleet import Group, Version
from llmkit.server.router.probes import ask_cards
from llmkit.server.router.worker import Worker
from llmkit.server.router.worker_adapters import adapters_of
from tests.server.adapters_made import BYTES, read
from tests.server.conftest import Serving
from tests.server.router.fakes import FakeWorker, said

POET = AdapterSpec("poet", "one")


def broken(spec: AdapterSpec) -> Any:
    raise MissingError(f"{spec.path}: not here", hint="look")


@contextlib.asynccontextmanager
async def group_of(serving: Serving, readers: Sequence[Any]) -> AsyncIterator[Group]:
    """A model with a worker for each reader, each a server of this process."""
    async with contextlib.AsyncExitStack() as stack:
        workers = []
        for number, reader in enumerate(readers):
            client = await stack.enter_async_context(
                serving(read=reader, behind_router=True, gate=WorkerGate())
            )
            worker = Worker(f"w{number}", client, model="tiny")
            worker.up(await ask_cards(worker, 5.0))
            workers.append(worker)
        yield Group("tiny", {"": Version("", 1.0, workers)})


def workers(group: Group) -> list[Worker]:
    return group.versions[""].workers


async def there(group: Group) -> list[list[str]]:
    return [sorted(await adapters_of(one)) for one in workers(group)]


def cards(group: Group) -> list[list[str]]:
    return [[card.id for card in one.cards] for one in workers(group)]


def test_all_workers_have_it_and_their_lists_say_so(serving: Serving) -> None:
    async def go() -> None:
        async with group_of(serving, [read, read]) as group:
            adapters = FleetAdapters()
            told = await adapters.load(group, POET, replace=False)
            assert (told["id"], told["bytes"], told["workers"]) == ("tiny:poet", BYTES, 2)
            assert cards(group) == [["tiny", "tiny:poet"]] * 2
            with pytest.raises(ApiError, match="already") as caught:
                await adapters.load(group, AdapterSpec("poet", "two"), replace=False)
            assert caught.value.status == 409
            done = await adapters.unload(group, "poet", wait_seconds=1, exclusive=asyncio.Lock())
            assert done["freed"] and await there(group) == [[], []] and cards(group) == [["tiny"]] * 2
            with pytest.raises(ApiError, match="no adapter") as caught:
                await adapters.unload(group, "poet", wait_seconds=1, exclusive=asyncio.Lock())
            assert caught.value.status == 404

    asyncio.run(go())


@pytest.mark.parametrize("before", [None, POET], ids=["none", "another"])
def test_where_one_worker_cannot_none_is_changed(before: AdapterSpec | None, serving: Serving) -> None:
    new = AdapterSpec("poet", "two")

    def picky(spec: AdapterSpec) -> Any:
        return broken(spec) if spec == new else read(spec)

    async def go() -> None:
        async with group_of(serving, [read, picky]) as group:
            adapters = FleetAdapters()
            if before is not None:
                await adapters.load(group, before, replace=False)
            with pytest.raises(
                ApiError, match=r"two: not here \(worker w1; no worker was changed\)"
            ) as caught:
                await adapters.load(group, new, replace=True)
            assert caught.value.status == 400 and caught.value.param == "lora_path"
            expected = {} if before is None else {"poet": before}
            assert [await adapters_of(one) for one in workers(group)] == [expected] * 2
            assert adapters.of("tiny") == expected

    asyncio.run(go())


def test_a_worker_that_does_not_answer_is_named_and_the_others_are_as_they_were(serving: Serving) -> None:
    async def go() -> None:
        async with group_of(serving, [read, read]) as group:
            adapters = FleetAdapters()
            await adapters.load(group, POET, replace=False)
            dead = FakeWorker(said("x"), name="dead")
            dead.fails = httpx.ConnectError
            workers(group).append(dead.worker)
            for work in (
                adapters.load(group, AdapterSpec("two", "two"), replace=False),
                adapters.unload(group, "poet", wait_seconds=0, exclusive=asyncio.Lock()),
            ):
                with pytest.raises(ApiError, match="worker dead does not answer") as caught:
                    await work
                assert caught.value.status == 503 and caught.value.retry_after
            del workers(group)[2]
            assert await there(group) == [["poet"]] * 2

    asyncio.run(go())


def test_a_worker_that_is_started_again_gets_what_was_loaded_and_loses_what_was_not(serving: Serving) -> None:
    async def go() -> None:
        async with group_of(serving, [read, read]) as group:
            adapters = FleetAdapters([AdapterSpec("first", "three")])
            old, again = workers(group)
            for spec in (AdapterSpec("first", "three"), AdapterSpec("poet", "two")):
                await again.client.post(  # what its flags gave it, and a value from before
                    "/worker/adapters/load",
                    json={"lora_name": spec.name, "lora_path": spec.path},
                    headers=_router(),
                )
            group.versions[""].workers = [old]
            await old.client.post(
                "/worker/adapters/load",
                json={"lora_name": "first", "lora_path": "three"},
                headers=_router(),
            )
            await adapters.load(group, POET, replace=False)
            await adapters.unload(group, "first", wait_seconds=1, exclusive=asyncio.Lock())
            async with adapters.opening(again, is_first=False):
                assert await adapters_of(again) == {"poet": POET}

    asyncio.run(go())


def _router() -> dict[str, str]:
    from llmkit.server.router.probes import headers_of
    from tests.server.router.fakes import FakeWorker, said

    return headers_of(FakeWorker(said("x")).worker)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_new_version_that_cannot_have_them_does_not_begin_and_an_old_worker_goes_on(
    is_first: bool, serving: Serving
) -> None:
    async def go() -> bool:
        async with group_of(serving, [read, broken]) as group:
            adapters = FleetAdapters()
            good, bad = workers(group)
            group.versions[""].workers = [good]
            await adapters.load(group, POET, replace=False)
            try:
                async with adapters.opening(bad, is_first=is_first):
                    return True
            except ConfigError as error:
                assert "one: not here" in error.problem
                return False

    assert asyncio.run(go()) is not is_first


def test_unloading_waits_for_requests_in_the_routers_queue_and_lets_no_new_one_in(serving: Serving) -> None:
    async def go() -> None:
        async with group_of(serving, [read]) as group:
            adapters = FleetAdapters()
            await adapters.load(group, POET, replace=False)
            with adapters.held("tiny:poet"):
                unloading = asyncio.create_task(
                    adapters.unload(group, "poet", wait_seconds=5, exclusive=asyncio.Lock())
                )
                await asyncio.sleep(0.02)
                assert await there(group) == [["poet"]]
                with pytest.raises(ApiError) as refused, adapters.held("tiny:poet"):
                    pass
                with pytest.raises(ApiError, match="is being unloaded") as twice:
                    await adapters.load(group, POET, replace=True)
                with adapters.held("tiny"), adapters.held(None):
                    assert (refused.value.status, twice.value.status) == (404, 409)
            assert (await unloading)["freed"] and await there(group) == [[]]
            await adapters.load(group, POET, replace=False)
            with adapters.held("tiny:poet"):
                pass

    asyncio.run(go())


def test_somebody_elses_workers_are_left_alone() -> None:
    group = Group("tiny", {"": Version("", 1.0, [FakeWorker(said("x"), is_own=False).worker])})
    with pytest.raises(ApiError, match="somebody else's"):
        asyncio.run(FleetAdapters().load(group, POET, replace=False))
    with pytest.raises(ApiError, match="no worker has tiny now"):
        asyncio.run(FleetAdapters().load(Group("tiny"), POET, replace=False))
