"""Every process is asked, however it is kept alive, and once."""

import asyncio

import httpx
import pytest

from llmkit.server.errors import ApiError
from llmkit.server.router.processes import ask_all, ask_worker, once
from llmkit.server.router.worker import Worker
from tests.server.conftest import Serving
from tests.server.router.crews import crew_of
from tests.server.router.fakes import FakeWorker, said


def answering(name: str, status: int, content: bytes = b"{}") -> Worker:
    transport = httpx.MockTransport(lambda request: httpx.Response(status, content=content))
    return Worker(name, httpx.AsyncClient(transport=transport, base_url="http://w"))


def test_a_crew_is_asked_once_and_each_of_its_processes_answers(serving: Serving) -> None:
    async def go() -> None:
        async with crew_of(serving, [None, None]) as (group, crew):
            both = group.versions[""].workers
            own = answering("own", 200)
            assert once([*both, own, own]) == [both[0], own]
            replies = await ask_all([*both, own], "/health", seconds=5)
            assert [one.who for one in replies] == ["host/0", "host/1", "own"]
            crew.is_lost = True
            assert [one.who for one in await ask_all([*both, own], "/health", seconds=5)] == ["own"]

    asyncio.run(go())


def test_who_does_not_answer_or_says_no_is_left_out_of_all_and_named_alone() -> None:
    dead = FakeWorker(said("x"), name="dead")
    dead.fails = httpx.ConnectError

    async def go() -> None:
        assert await ask_all([dead.worker, answering("no", 404)], "/load", seconds=1) == []
        with pytest.raises(ApiError, match="worker dead does not answer") as caught:
            await ask_worker(dead.worker, "GET", "/load", seconds=1)
        assert caught.value.status == 503

    asyncio.run(go())
