"""Probes take a worker out after two failures, and bring it back with one answer."""

import asyncio

import httpx

from llmkit.server.gate import Caller
from llmkit.server.router.fleet import Fleet
from llmkit.server.router.probes import ProbeConfig, keep_probing, probe
from llmkit.server.router.worker import Card, Worker
from tests.server.router.fakes import FakeWorker, said


def test_two_failures_in_a_row_take_it_out_and_one_answer_brings_it_back() -> None:
    fake = FakeWorker(said("x"), name="a")

    async def scenario() -> list[str]:
        states = []
        for failure in (httpx.ReadTimeout, None, httpx.ReadTimeout, httpx.ConnectError, None):
            fake.fails = failure
            await probe(fake.worker, 1.0)
            states.append(fake.worker.state)
        return states

    assert asyncio.run(scenario()) == ["up", "up", "up", "down", "up"]


def test_a_worker_that_comes_up_tells_what_it_has() -> None:
    fake = FakeWorker(said("x"), model="m", is_own=False)
    worker = Worker("url", fake.worker.client, is_own=False)
    assert asyncio.run(probe(worker, 1.0)) and worker.cards == (Card("m", 100),)


def test_a_worker_whose_engine_is_dead_counts_as_failed() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(503))
    worker = Worker("w", httpx.AsyncClient(transport=transport, base_url="http://w"))
    assert not asyncio.run(probe(worker, 1.0)) and worker.failed_probes == 1


def test_who_comes_up_is_told_and_who_hangs_is_ended() -> None:
    fake = FakeWorker(said("x"))
    fake.worker.down()
    told: list[str] = []

    async def scenario() -> None:
        config = ProbeConfig(every_seconds=0.001, kill_after=3)
        probing = asyncio.create_task(
            keep_probing(
                fake.worker,
                config,
                changed=lambda one: told.append(one.id),
                hangs=lambda: told.append("hangs"),
            )
        )
        while not told:
            await asyncio.sleep(0.001)
        fake.fails = httpx.ReadTimeout
        while len(told) < 2:
            await asyncio.sleep(0.001)
        probing.cancel()

    asyncio.run(scenario())
    assert told[:2] == ["w", "hangs"] and fake.worker.failed_probes >= 3


def test_what_comes_and_goes_at_somebody_elses_server_is_learned() -> None:
    fake = FakeWorker(said("x"), model="tiny", is_own=False)
    fleet = Fleet()
    fake.worker.cards = (Card("tiny"), Card("tiny:gone"))
    fleet.learn(fake.worker)
    assert set(fleet.groups) == {"tiny", "tiny:gone"}

    async def scenario() -> None:
        config = ProbeConfig(every_seconds=0.001, cards_every=2)
        probing = asyncio.create_task(
            keep_probing(fake.worker, config, changed=fleet.learn, hangs=lambda: None)
        )
        while "tiny:gone" in fleet.groups:
            await asyncio.sleep(0.001)
        probing.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 10))
    assert set(fleet.groups) == {"tiny"} and fleet.find("tiny", Caller()).is_up
