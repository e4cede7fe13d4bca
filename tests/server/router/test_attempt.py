"""What is sent to a worker, and what of its answer goes on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from llmkit.server.gate import Caller
from llmkit.server.router import attempt as module
from llmkit.server.router.asked import read_asked
from llmkit.server.router.attempt import Begun, Job, attempt, forwarded
from tests.server.router.fakes import Answer, FakeWorker, routed, said, streaming

CHUNK = b'data: {"choices": [{"index": 0, "text": "a"}]}\n\n'


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


def test_answers_of_anothers_server_count_by_how_they_ended_streams_and_vectors_too() -> None:
    chunks = [
        b'data: {"choices": [{"text": "a", "finish_reason": null}]}\n\n',
        b'data: {"choices": [{"text": "", "finish_reason": "length"}]}\n\n',
        b"data: [DONE]\n\n",
    ]

    async def vectors(request: Request, body: dict[str, Any]) -> Response:
        return JSONResponse({"object": "list", "data": [], "usage": {"prompt_tokens": 2, "total_tokens": 2}})

    async def scenario() -> list[Any]:
        routers = [routed(FakeWorker(one, is_own=False)) for one in (streaming(*chunks), vectors)]
        assert (await routers[0].complete(stream=True)).text.encode() == b"".join(chunks)
        answer = await routers[1].client.post("/v1/embeddings", json={"input": "a", "model": "tiny"})
        assert answer.status_code == 200
        return [one.log[0]["finish_reason"] for one in routers]

    assert asyncio.run(scenario()) == ["length", "stop"]


def test_a_stream_of_anothers_server_that_hangs_ends_and_one_that_still_writes_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.5)

    def writing(count: int) -> Answer:
        async def answer(request: Request, body: dict[str, Any]) -> Response:
            async def told() -> AsyncIterator[bytes]:
                for _ in range(count):
                    yield CHUNK
                    await asyncio.sleep(0.02)
                await asyncio.Event().wait()

            return StreamingResponse(told(), media_type="text/event-stream")

        return answer

    async def scenario(count: int) -> bytes:
        one = FakeWorker(writing(count), is_own=False)
        one.worker.hangs.set()
        async with asyncio.timeout(20):
            return (await routed(one).complete(stream=True)).content

    for count in (1, 40):  # the second one takes longer to write than it may be silent
        told = asyncio.run(scenario(count))
        assert told.startswith(CHUNK * count + b'data: {"error"') and b"worker_lost" in told


def test_of_the_workers_headers_those_go_on_that_say_when_to_come_back() -> None:
    told = {
        "content-type": "a/b",
        "retry-after": "1",
        "x-should-retry": "true",
        "x-llmkit-slot": "1",
        "server": "s",
    }
    assert set(forwarded(httpx.Headers(told))) == {"content-type", "retry-after", "x-should-retry"}


def test_in_whatever_turn_of_the_loop_a_client_leaves_its_worker_stops_writing() -> None:
    writing: list[int] = []
    turns_left, chunk = 40, b'data: {"choices": [{"index": 0, "text": "a"}]}\n\n'

    async def endless(request: Request, body: dict[str, Any]) -> Response:
        async def told() -> AsyncIterator[bytes]:
            writing.append(1)
            try:
                yield chunk
                await asyncio.Event().wait()
            finally:
                writing.pop()

        return StreamingResponse(told(), media_type="text/event-stream")

    async def scenario() -> list[Any]:
        one, body = FakeWorker(endless), b'{"prompt": "a", "stream": true}'
        group = routed(one).fleet.groups["tiny"]
        ended = []
        for turns in range(turns_left):
            job = Job("/v1/completions", body, {}, read_asked(body), Caller(), group, group.main, (), 1)
            asking = asyncio.create_task(attempt(job, one.worker, one.worker.take(1, turns), "id"))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            (end,) = await asyncio.gather(asking, return_exceptions=True)
            if isinstance(end, Begun):
                assert end.first == chunk and writing
                await end.close()
            for _ in range(turns_left):
                await asyncio.sleep(0)
            assert not writing, f"left after {turns} turns"
            ended.append(type(end))
        return ended

    ended = asyncio.run(scenario())
    assert ended[0] is asyncio.CancelledError and ended[-1] is Begun  # before, after, and all between
