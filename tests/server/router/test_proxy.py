"""A request is answered by one worker or the next, until the client has got a byte; then it ends in words."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from llmkit.server.errors import ApiError
from llmkit.server.front import error_response
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.listener import open_port
from llmkit.server.router import proxy
from llmkit.server.router.app import build_router
from llmkit.server.run import http_server
from tests.server.router.fakes import FakeWorker, refusing, routed, said, streaming

CHUNK = b'data: {"choices": [{"index": 0, "text": "a"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def run(work: Any) -> Any:
    return asyncio.run(work)


def events(answer: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def test_an_answer_comes_back_as_the_worker_wrote_it_and_its_own_count_is_charged() -> None:
    one = FakeWorker(said("hello"), name="a")

    async def scenario() -> None:
        router = routed(one)
        answer = await router.complete()
        assert (answer.status_code, answer.json()["choices"][0]["text"]) == (200, "hello")
        record = router.log[0]
        assert (record["prompt_tokens"], record["completion_tokens"]) == (7, 3)
        assert (record["finish_reason"], record["model"]) == ("stop", "tiny")
        assert one.worker.running == one.worker.outstanding == router.gate.admission.requests == 0

    run(scenario())


def test_a_worker_that_takes_no_connection_is_down_and_the_next_one_answers() -> None:
    one, two = FakeWorker(said("a"), name="a"), FakeWorker(said("b"), name="b")
    one.fails = httpx.ConnectError

    async def scenario() -> None:
        router = routed(one, two)
        texts = [(await router.complete()).json()["choices"][0]["text"] for _ in range(3)]
        assert texts == ["b"] * 3
        assert (one.worker.state, router.fleet.failed_over) == ("down", 1)

    run(scenario())


@pytest.mark.parametrize("status", [400, 404, 413, 422, 429])
def test_an_answer_of_4xx_is_not_tried_again(status: int) -> None:
    one, two = FakeWorker(refusing(status), name="a"), FakeWorker(refusing(status), name="b")
    answer = run(routed(one, two).complete())
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, "no")
    assert len(one.bodies) + len(two.bodies) == 1


def test_5xx_is_tried_once_more_elsewhere_and_no_third_time() -> None:
    workers = [FakeWorker(refusing(500), name=name) for name in "abc"]
    assert run(routed(*workers).complete()).status_code == 500
    assert sorted(len(one.bodies) for one in workers) == [0, 1, 1]
    good = FakeWorker(said("fine"), name="d")
    assert run(routed(workers[0], good).complete()).status_code == 200


@pytest.mark.parametrize("path", ["/v1/completions", "/tokenize"])
def test_a_request_counts_once_against_its_key(path: str) -> None:
    keys = Keys({"alice": KeyRules(sha256=digest_of("a"), requests_per_minute=2, concurrent=1)})
    one = FakeWorker(said("a"))

    async def scenario() -> list[int]:
        router = routed(one, keys=keys)
        head = {"authorization": "Bearer a"}
        asked = [await router.client.post(path, json={"prompt": "x"}, headers=head) for _ in range(3)]
        return [answer.status_code for answer in asked]

    assert run(scenario()) == [200, 200, 429] and len(one.bodies) == 2


def test_a_worker_whose_queue_is_full_is_passed_by_and_its_version_is_not_blamed() -> None:
    full = ApiError(503, "the queue of prompts is full", code="queue_full", retry_after=1.0)

    async def answer(request: Request, body: dict[str, Any]) -> Response:
        return error_response(full, "/v1/completions")

    one, two = FakeWorker(answer, name="a"), FakeWorker(said("b"), name="b")

    async def scenario() -> None:
        router = routed(one, two)
        answers = [await router.complete(prompt=str(number)) for number in range(4)]
        assert [answer.status_code for answer in answers] == [200] * 4 and one.bodies
        two.worker.down()
        alone = await router.complete()
        assert (alone.status_code, alone.headers["retry-after"]) == (503, "1")
        version = router.fleet.groups["tiny"].main
        assert version.outcomes.count(0.0) == (4, 0)

    run(scenario())


def test_where_ray_chooses_the_process_a_request_is_tried_until_it_finds_one_that_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proxy, "AGAIN_SECONDS", 0.001)
    lost = [500, 500, 503]
    seen: list[str] = []

    async def answer(request: Any, body: dict[str, Any]) -> Any:
        seen.append(request.headers["authorization"])
        made = refusing(lost.pop()) if lost else said("alive")
        return await made(request, body)

    async def scenario() -> Any:
        fakes = [FakeWorker(answer, name=f"ray/{one}", is_own=False) for one in range(2)]
        for one in fakes:
            one.worker.secret = "word"
        return await routed(*fakes).complete()

    answer_ = run(scenario())
    assert answer_.status_code == 200 and answer_.json()["choices"][0]["text"] == "alive"
    assert len(seen) == 4 and all(one.startswith("Bearer word.") for one in seen)


def test_without_a_worker_the_answer_is_503_with_the_time_to_come_back() -> None:
    one = FakeWorker(said("a"))
    one.worker.down()
    answer = run(routed(one).complete())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_stream_loses_the_workers_own_notes_and_nothing_else() -> None:
    notes = b": llmkit-slot 4 1 2 0.5 stop 3 -\n\n"
    whole = CHUNK + notes + CHUNK + notes + DONE + notes
    cut = [whole[index : index + 7] for index in range(0, len(whole), 7)]
    one = FakeWorker(streaming(*cut))

    async def scenario() -> None:
        router = routed(one)
        answer = await router.complete(stream=True)
        assert answer.content == CHUNK + CHUNK + DONE
        record = router.log[0]
        assert [record[f"{name}_tokens"] for name in ("prompt", "cached", "completion")] == [4, 1, 2]
        assert (record["finish_reason"], record["tool_calls"]) == ("stop", 3)
        assert record["first_token_seconds"] >= 0.5 and one.worker.running == 0

    run(scenario())


@pytest.mark.parametrize("breaks", [True, False])
def test_a_stream_without_its_last_word_ends_with_an_error_event(breaks: bool) -> None:
    one, two = (FakeWorker(streaming(CHUNK, b'data: {"cho', breaks=breaks), name=name) for name in "ab")
    answer = run(routed(one, two).complete(stream=True))
    told = events(answer)
    assert told[0]["choices"][0]["text"] == "a" and told[1]["error"]["code"] == "worker_lost"
    assert len(told) == 2 and len(one.bodies) + len(two.bodies) == 1


def test_answers_that_are_written_at_once_are_in_the_log_of_a_router() -> None:
    router = routed(FakeWorker(said("x")))

    async def scenario() -> None:
        for more in ({"n": 3}, {"prompt": ["a", "b"]}, {}):
            await router.client.post("/v1/completions", json={"prompt": "hi", **more})

    run(scenario())
    assert [one.get("answers") for one in router.log] == [3, 2, None]


def test_a_stream_that_is_broken_off_is_told_from_one_that_was_left_in_log_and_metrics(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        router = routed(FakeWorker(streaming(CHUNK, breaks=True), name="a"))
        told = {"prompt": "hi", "stream": True}
        await router.client.post("/v1/completions", json=told, headers={"x-request-id": "mine"})
        (record,) = router.log
        assert (record["finish_reason"], record["error"]) == ("error", "worker_lost")
        metrics = (await router.client.get("/metrics")).text
        assert 'llmkit_request_success_total{finished_reason="error",model="tiny"} 1.0' in metrics
        assert "abort" not in metrics

    run(scenario())
    assert "worker a left the stream of mine unfinished" in caplog.text


@pytest.mark.parametrize("stream", [True, False])
def test_when_the_time_is_over_an_answer_ends_with_a_word_and_its_worker_is_free(stream: bool) -> None:
    async def silent(request: Any, body: dict[str, Any]) -> Any:
        async def told() -> AsyncIterator[bytes]:
            yield CHUNK
            await asyncio.Event().wait()

        return StreamingResponse(told(), media_type="text/event-stream" if stream else "application/json")

    async def scenario() -> None:
        one = FakeWorker(silent)
        router = routed(one)
        asked = asyncio.create_task(router.complete(stream=stream))
        while not one.worker.running:
            await asyncio.sleep(0)
        for _ in range(20):  # until the first event is on its way
            await asyncio.sleep(0)
        router.state.over.set()
        answer = await asked
        last = events(answer)[-1] if stream else answer.json()
        assert last["error"]["code"] == "draining"
        assert (answer.status_code, len(one.bodies)) == (200 if stream else 503, 1)
        assert one.worker.running == router.gate.admission.requests == 0
        assert one.worker.takes_requests  # it has done nothing wrong
        assert not stream or router.log[0]["error"] == "draining"

    run(scenario())


def test_a_stream_that_breaks_before_its_first_event_is_tried_elsewhere() -> None:
    one = FakeWorker(streaming(b'data: {"cho', breaks=True), name="a")
    two = FakeWorker(streaming(CHUNK, DONE), name="b")
    assert events(run(routed(one, two).complete(stream=True)))[-1] == "[DONE]"
    assert len(one.bodies) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_time_lost_with_a_first_worker_counts_until_the_first_token(stream: bool) -> None:
    async def breaks(request: Any, body: dict[str, Any]) -> Any:
        await asyncio.sleep(0.2)
        raise httpx.RemoteProtocolError("cut")

    async def answers(request: Any, body: dict[str, Any]) -> Any:
        note = "4 0 1 0.5 stop 0 -"
        if not stream:
            return Response(b"{}", media_type="application/json", headers={"x-llmkit-slot": note})
        told = CHUNK + f": llmkit-slot {note}\n\n".encode() + DONE
        return StreamingResponse(iter([told]), media_type="text/event-stream")

    router = routed(FakeWorker(breaks, name="a", is_own=False), FakeWorker(answers, name="b"))
    assert run(router.complete(stream=stream)).status_code == 200
    (record,) = router.log
    assert 0.7 <= record["first_token_seconds"] <= 0.5 + record["seconds"]


def test_a_stream_whose_worker_dies_before_the_first_token_is_told_whole_by_another_and_opened_once() -> None:
    opened = b'data: {"choices": [{"index": 0, "delta": {"role": "assistant"}}]}\n\n'
    waits, writes = b": llmkit-slot 4 0 0 - - 0 -\n\n", b": llmkit-slot 4 0 1 0.5 stop 0 -\n\n"
    one = FakeWorker(streaming(opened + waits, breaks=True), name="a")
    two = FakeWorker(streaming(opened + waits, CHUNK + writes, DONE + writes), name="b")
    answer = run(routed(one, two).complete(stream=True))
    assert answer.content == opened + CHUNK + DONE
    assert (len(one.bodies), len(two.bodies)) == (1, 1)


def test_whose_request_it_is_goes_to_our_workers_and_to_nobody_else() -> None:
    keys = Keys({"alice": KeyRules(sha256=digest_of("a"), priority=3)})
    one = FakeWorker(said("a"))
    foreign = FakeWorker(said("b"), is_own=False)

    async def scenario() -> None:
        for fake in (one, foreign):
            router = routed(fake, keys=keys)
            body = {"prompt": "x"}
            await router.client.post("/v1/completions", json=body, headers={"authorization": "Bearer a"})
            assert (await router.complete()).status_code == 401

    run(scenario())
    from llmkit.server.handoff import unpack_caller

    told = unpack_caller(one.headers[0]["authorization"].removeprefix("Bearer "))
    assert (told.tenant, told.lowest_priority) == ("alice", 3)
    assert "authorization" not in foreign.headers[0] and foreign.bodies[0]["model"] == "tiny"


def test_the_usage_of_a_foreign_stream_is_asked_for_and_kept_from_who_did_not_ask() -> None:
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}\n\n'
    one = FakeWorker(streaming(CHUNK, usage, DONE), is_own=False)

    async def scenario() -> None:
        router = routed(one)
        assert (await router.complete(stream=True)).content == CHUNK + DONE
        asked = {"include_usage": True}
        assert (await router.complete(stream=True, stream_options=asked)).content == CHUNK + usage + DONE
        assert [one["prompt_tokens"] for one in router.log] == [9, 9]

    run(scenario())
    assert all(body["stream_options"]["include_usage"] for body in one.bodies)


def crashing(fake: FakeWorker, code: int) -> None:
    """Let a worker's process end at each request."""

    async def answer(request: Any, body: Any) -> Any:
        fake.worker.ended(code)
        raise httpx.RemoteProtocolError("cut")

    fake.answer = answer


def test_a_request_under_which_two_killed_workers_were_is_failed() -> None:
    fakes = [FakeWorker(said("x"), name=name) for name in "abc"]
    for fake in fakes:
        crashing(fake, -signal.SIGKILL)
    answer = run(routed(*fakes).complete())
    assert (answer.status_code, answer.headers["x-should-retry"]) == (500, "false")
    assert answer.json()["error"]["code"] == "poison_request"
    assert sorted(len(one.bodies) for one in fakes) == [0, 1, 1]


def test_a_request_that_crashes_a_worker_is_tried_there_again_and_no_other_is_lost() -> None:
    bad, good = FakeWorker(said("x"), name="a"), FakeWorker(said("y"), name="b")
    crashing(bad, -signal.SIGSEGV)

    async def scenario() -> None:
        router = routed(bad, good)
        asking = asyncio.create_task(router.complete("poison"))
        while not bad.worker.one_suspect.locked():
            await asyncio.sleep(0.001)
        assert (await router.complete("else")).json()["choices"][0]["text"] == "y"
        bad.worker.state = "starting"
        bad.worker.exited.clear()
        bad.worker.up(bad.worker.cards)
        assert (await asking).json()["error"]["code"] == "poison_request"
        assert (await router.complete("poison")).json()["error"]["code"] == "poison_request"
        assert not bad.worker.one_suspect.locked()

    run(scenario())
    assert [len(bad.bodies), len(good.bodies)] == [2, 1]


def test_a_client_that_leaves_while_its_worker_is_down_keeps_no_other_one_waiting() -> None:
    bad, good = FakeWorker(said("x"), name="a"), FakeWorker(said("y"), name="b")
    crashing(bad, -signal.SIGSEGV)

    async def scenario() -> None:
        router = routed(bad, good)
        leaving = asyncio.create_task(router.complete("poison"))
        while not bad.worker.one_suspect.locked():
            await asyncio.sleep(0.001)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        bad.worker.state = "starting"
        bad.worker.up(bad.worker.cards)
        bad.answer = said("fine")
        async with asyncio.timeout(5.0):
            answer = await router.complete("poison")
        assert answer.json()["choices"][0]["text"] == "fine"
        assert not bad.worker.one_suspect.locked() and bad.worker.running == 0

    run(scenario())


def test_a_request_waits_no_longer_than_it_may_for_others_that_crashed_the_worker_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proxy, "SUSPECT_WAIT_SECONDS", 0.01)
    bad = FakeWorker(said("x"), name="a")
    crashing(bad, -signal.SIGSEGV)

    async def scenario() -> None:
        router = routed(bad)
        assert (await router.complete("poison")).json()["error"]["code"] == "no_worker"
        bad.worker.state = "starting"
        bad.worker.up(bad.worker.cards)
        async with bad.worker.one_suspect, asyncio.timeout(5.0):
            answer = await router.complete("poison")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_worker")
        assert router.gate.admission.requests == 0

    run(scenario())


def test_a_client_that_leaves_gives_everything_back() -> None:
    waits = asyncio.Event()

    async def answer(request: Any, body: Any) -> Any:
        await waits.wait()

    one = FakeWorker(answer)

    async def scenario() -> None:
        router = routed(one)
        asking = asyncio.create_task(router.complete())
        while not one.bodies:
            await asyncio.sleep(0.001)
        assert one.worker.running == router.gate.admission.requests == 1
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert one.worker.running == router.gate.admission.requests == 0

    run(scenario())


def test_what_a_plain_answer_took_is_charged_though_its_client_left() -> None:
    one = FakeWorker(said("x"), name="a")

    async def answer(request: Any, body: Any) -> Any:
        one.left["mine"] = "4 0 37 0.5 - 0 -"
        await asyncio.Event().wait()

    one.answer = answer

    async def scenario() -> None:
        router = routed(one)
        told = {"prompt": "hi", "max_tokens": 50}
        asking = asyncio.create_task(
            router.client.post("/v1/completions", json=told, headers={"x-request-id": "mine"})
        )
        while not one.left:
            await asyncio.sleep(0.001)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert router.usage.tokens_of_day("", datetime.now(UTC)) == 41 and not one.left
        assert (router.log[0]["prompt_tokens"], router.log[0]["completion_tokens"]) == (4, 37)
        assert one.worker.running == router.gate.admission.requests == 0

    run(scenario())


@contextlib.asynccontextmanager
async def on_a_port(app: Any) -> AsyncIterator[tuple[str, set[Any]]]:
    """An application behind a socket of its own: its URL, and the connections that it has."""
    with open_port("127.0.0.1", 0) as listener:
        server = http_server(app)
        serving = asyncio.create_task(server.serve([listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", server.server_state.connections
        server.should_exit = True
        await serving


def test_streams_that_their_clients_leave_hold_no_connection_to_the_worker() -> None:
    async def endless(request: Any) -> StreamingResponse:
        async def told() -> AsyncIterator[bytes]:
            while True:
                yield CHUNK
                await asyncio.sleep(0.001)

        return StreamingResponse(told(), media_type="text/event-stream")

    async def scenario() -> None:
        app = Starlette(routes=[Route("/v1/completions", endless, methods=["POST"])])
        async with on_a_port(app) as (url, connections), httpx.AsyncClient(base_url=url) as to_worker:
            one = FakeWorker(said("x"))
            one.worker.client = to_worker
            router = routed(one)
            async with on_a_port(build_router(router.state)) as (front, _), httpx.AsyncClient() as client:
                for _ in range(10):
                    asked = {"prompt": "a", "stream": True}
                    async with client.stream("POST", f"{front}/v1/completions", json=asked) as answer:
                        assert await anext(answer.aiter_bytes())
                async with asyncio.timeout(20):
                    while connections or one.worker.running:
                        await asyncio.sleep(0.01)

    run(scenario())


def test_a_worker_that_is_given_up_leaves_its_waiting_requests_to_another() -> None:
    async def never(request: Any, body: Any) -> Any:
        await asyncio.Event().wait()

    one, two = FakeWorker(never, name="a"), FakeWorker(said("b"), name="b")

    async def scenario() -> None:
        router = routed(one, two)
        asking = asyncio.create_task(router.complete())
        while not one.bodies:
            await asyncio.sleep(0.001)
        one.worker.probe_failed()
        assert one.worker.takes_requests
        one.worker.probe_failed()
        assert (await asking).json()["choices"][0]["text"] == "b"

    run(scenario())


def test_what_was_said_is_logged_of_every_endpoint_where_that_was_asked_for() -> None:
    bodies = {
        "/v1/completions": {"prompt": "secret"},
        "/v1/chat/completions": {"messages": "secret"},
        "/v1/embeddings": {"input": "secret"},
        "/v1/rerank": {"query": "secret", "documents": ["a", {"text": "b"}]},
        "/infill": {"input_prefix": "secret", "input_suffix": "b", "prompt": "c"},
    }

    async def scenario() -> None:
        router = routed(FakeWorker(said("x")))
        for logs in (False, True):
            router.state.log_prompts = logs
            for path, body in bodies.items():
                await router.client.post(path, json=body)
        told = [record.get("prompt") for record in router.log]
        assert told[: len(bodies)] == [None] * len(bodies)
        logged = dict(zip(bodies, told[len(bodies) :], strict=True))
        assert logged.pop("/v1/rerank") == ["secret", "a", {"text": "b"}]
        assert set(logged.values()) == {"secret"}

    run(scenario())
