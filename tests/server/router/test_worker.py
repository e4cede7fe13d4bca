"""The state of a worker: what is sent to it, what is counted, what its end means."""

import asyncio
import signal

import httpx
import pytest

from llmkit.server.router.worker import Card, Worker, is_own_fault, remote_client


def test_a_request_is_counted_once_however_often_it_is_closed() -> None:
    worker = Worker("w", httpx.AsyncClient())
    ended: list[bool] = []
    leases = [worker.take(10, 1), worker.take(5, 2)]
    leases[0].then = lambda: ended.append(True)
    for lease in (leases[0], leases[0]):
        lease.close()
    assert (worker.running, worker.outstanding, ended) == (1, 5, [True])


def test_a_worker_that_drains_does_not_come_up_again_by_a_probe() -> None:
    worker = Worker("w", httpx.AsyncClient())
    worker.up((Card("m"),))
    worker.state = "draining"
    worker.up((Card("m"),))
    worker.probe_failed()
    worker.probe_failed()
    assert worker.state == "draining" and not worker.takes_requests


def test_the_end_of_a_process_is_waited_for_a_moment() -> None:
    async def scenario() -> list[int | None]:
        worker = Worker("w", httpx.AsyncClient())
        alive = await worker.crash_within(0.01)
        asyncio.get_running_loop().call_later(0.01, worker.ended, -9)
        return [
            alive,
            await worker.crash_within(5.0),
            await Worker("u", worker.client, is_own=False).crash_within(5),
        ]

    assert asyncio.run(scenario()) == [None, -9, None]


@pytest.mark.parametrize("turns", range(4))
def test_who_is_called_off_as_a_worker_comes_up_does_not_go_on(turns: int) -> None:
    async def scenario() -> None:
        worker = Worker("w", httpx.AsyncClient())
        waiting = asyncio.create_task(worker.is_up_within(5.0))
        await asyncio.sleep(0.01)
        worker.up((Card("m"),))
        for _ in range(turns):
            await asyncio.sleep(0)
        if waiting.cancel():
            await asyncio.gather(waiting, return_exceptions=True)
            assert waiting.cancelled()

    asyncio.run(scenario())


def test_only_a_worker_that_was_not_killed_brought_itself_down() -> None:
    codes = [1, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGKILL, -signal.SIGTERM]
    assert [is_own_fault(code) for code in codes] == [True, True, True, False, False]


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"])
def test_a_url_may_end_in_v1_or_not(url: str) -> None:
    client = remote_client(url, "secret")
    request = client.build_request("GET", "/v1/models")
    assert (str(request.url), request.headers["authorization"]) == ("http://h:1/v1/models", "Bearer secret")
