"""Replicas that somebody else keeps alive have an adapter all, or none; those that come later are told."""

import asyncio
from typing import Any

import pytest

from llmkit.errors import MissingError, ResourceError
from llmkit.server.adapters import AdapterSpec
from llmkit.server.errors import ApiError
from llmkit.server.router.adapters import FleetAdapters
from llmkit.server.router.fleet import Group
from llmkit.server.router.worker_adapters import adapters_of
from tests.server.adapters_made import BYTES, read
from tests.server.conftest import Serving
from tests.server.router.crews import MadeCrew, crew_of

POET, OTHER = AdapterSpec("poet", "one"), AdapterSpec("poet", "two")


async def there(group: Group, crew: MadeCrew) -> list[dict[str, AdapterSpec]]:
    """Those of each replica."""
    worker, all_ = group.versions[""].workers[0], dict(crew.clients)
    told = []
    for name, client in all_.items():
        crew.clients = {name: client}
        told.append(await adapters_of(worker))
    crew.clients = all_
    return told


def broken(spec: AdapterSpec) -> Any:
    raise MissingError(f"{spec.path}: not here", hint="look")


def test_each_replica_is_told_once_and_those_to_come_are_told_too(serving: Serving) -> None:
    async def go() -> None:
        async with crew_of(serving, [read, read, read]) as (group, crew):
            adapters = FleetAdapters()
            told = await adapters.load(group, POET, replace=False)
            assert (told["id"], told["bytes"], told["workers"]) == ("tiny:poet", BYTES, 3)
            assert await there(group, crew) == [{"poet": POET}] * 3
            assert [card.id for card in group.cards()] == ["tiny", "tiny:poet"]
            done = await adapters.unload(group, "poet", wait_seconds=1, exclusive=asyncio.Lock())
            assert (done["freed"], done["workers"]) == (True, 3)
            assert await there(group, crew) == [{}] * 3
            assert crew.kept == [(POET,), ()]

    asyncio.run(go())


def test_where_one_replica_cannot_none_has_it_and_it_is_named(serving: Serving) -> None:
    async def go() -> None:
        async with crew_of(serving, [read, broken]) as (group, crew):
            with pytest.raises(ApiError, match=r"not here \(host/1\) \(worker ray/0; no worker") as caught:
                await FleetAdapters().load(group, POET, replace=False)
            assert caught.value.param == "lora_path"
            assert await there(group, crew) == [{}, {}] and crew.kept == [()]

    asyncio.run(go())


def test_where_those_to_come_could_not_have_it_none_has_it(serving: Serving) -> None:
    async def go() -> None:
        async with crew_of(serving, [read, read]) as (group, crew):
            adapters = FleetAdapters()
            await adapters.load(group, POET, replace=False)
            crew.refuses = ResourceError("no room", hint="wait")
            with pytest.raises(ApiError, match="no room"):
                await adapters.load(group, OTHER, replace=True)
            with pytest.raises(ApiError, match="no room"):
                await adapters.unload(group, "poet", wait_seconds=0, exclusive=asyncio.Lock())
            assert await there(group, crew) == [{"poet": POET}] * 2 and adapters.of("tiny") == {"poet": POET}
            assert crew.kept == [(POET,)]

    asyncio.run(go())


def test_where_one_version_could_not_keep_it_the_other_is_told_to_keep_what_it_had(serving: Serving) -> None:
    async def go() -> None:
        async with crew_of(serving, [read]) as (group, crew), crew_of(serving, [read]) as (other, full):
            group.versions["v2"] = other.versions[""]
            full.refuses = ResourceError("no room", hint="wait")
            with pytest.raises(ApiError, match="no room"):
                await FleetAdapters().load(group, POET, replace=False)
            assert crew.kept == [(POET,), ()]
            assert await there(group, crew) == await there(other, full) == [{}]

    asyncio.run(go())


def test_one_that_has_lost_it_already_does_not_keep_the_others_from_losing_it(serving: Serving) -> None:
    async def go() -> None:
        async with crew_of(serving, [read, read]) as (group, crew):
            adapters = FleetAdapters()
            await adapters.load(group, POET, replace=False)
            all_ = dict(crew.clients)
            crew.clients = {"host/1": all_["host/1"]}
            await crew.ask("POST", "/worker/adapters/unload", b'{"lora_name": "poet"}', seconds=5)
            crew.clients = all_
            done = await adapters.unload(group, "poet", wait_seconds=1, exclusive=asyncio.Lock())
            assert done["workers"] == 1 and await there(group, crew) == [{}, {}]

    asyncio.run(go())
