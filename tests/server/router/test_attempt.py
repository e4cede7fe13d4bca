"""What is sent to a worker, and what of its answer goes on."""

import asyncio

import httpx

from llmkit.server.router.attempt import forwarded
from tests.server.router.fakes import FakeWorker, routed, said


def test_of_the_clients_headers_only_harmless_ones_go_on() -> None:
    one = FakeWorker(said("x"), is_own=False)
    told = {
        **{"cookie": "secret", "x-api-key": "k", "anthropic-version": "2023-06-01"},
        **{"x-request-id": "mine", "connection": "close"},
    }

    async def scenario() -> None:
        await routed(one).client.post("/v1/messages", json={"model": "tiny"}, headers=told)

    asyncio.run(scenario())
    sent = one.headers[0]
    assert (sent["anthropic-version"], sent["x-request-id"]) == ("2023-06-01", "mine")
    assert not {"cookie", "x-api-key", "authorization"} & set(sent)


def test_of_the_workers_headers_those_go_on_that_say_when_to_come_back() -> None:
    told = {
        "content-type": "a/b",
        "retry-after": "1",
        "x-should-retry": "true",
        "x-llmkit-slot": "1",
        "server": "s",
    }
    assert set(forwarded(httpx.Headers(told))) == {"content-type", "retry-after", "x-should-retry"}
