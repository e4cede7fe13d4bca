"""Behind a router a conversation goes on with any worker: the router knows it, and no worker keeps it."""

import asyncio
import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmkit.server.kept_responses import KeptResponses
from llmkit.server.keys import KeyRules, Keys, digest_of
from tests.server.router.fakes import Answer, FakeWorker, refusing, routed, streaming

PATH = "/v1/responses"


def answering(text: str, name: str = "resp_1") -> Answer:
    """A worker that answers with a message."""

    async def answer(request: Request, body: dict[str, Any]) -> Response:
        return JSONResponse(response(text, name, store=body["store"]))

    return answer


def response(text: str, name: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text}]
    output = [{"type": "message", "id": f"msg_{name}", "role": "assistant", "content": content}]
    return {"id": name, "object": "response", "status": "completed", "output": output, **more}


def said(body: dict[str, Any]) -> list[str]:
    """The texts of a body's input."""
    return [
        one["content"] if isinstance(one["content"], str) else one["content"][0]["text"]
        for one in body["input"]
    ]


def test_another_worker_gets_the_whole_conversation() -> None:
    one, two = (
        FakeWorker(answering("b", "resp_1"), name="one"),
        FakeWorker(answering("d", "resp_2"), name="two"),
    )

    async def go() -> list[Any]:
        router = routed(one, two)
        two.worker.down()
        first = await router.client.post(PATH, json={"input": "a"})
        two.worker.up(one.worker.cards)
        one.worker.down()
        further = {"input": [{"role": "user", "content": "c"}], "previous_response_id": "resp_1"}
        second = await router.client.post(PATH, json=further)
        shown = await router.client.get(f"{PATH}/resp_2")
        items = await router.client.get(f"{PATH}/resp_2/input_items", params={"order": "asc"})
        return [one.json() for one in (first, second, shown, items)]

    first, second, shown, items = asyncio.run(go())
    assert one.bodies[0] == {"input": "a", "store": False, "model": "tiny"}
    assert said(two.bodies[0]) == ["a", "b", "c"] and "previous_response_id" not in two.bodies[0]
    assert (first["store"], first["previous_response_id"]) == (True, None)
    assert (second["store"], second["previous_response_id"]) == (True, "resp_1")
    assert shown == second
    assert [one["content"][0]["text"] for one in items["data"]] == ["a", "b", "c"]


def test_a_stream_is_kept_before_its_last_event_and_tells_what_the_client_asked_for() -> None:
    events = [
        ("created", response("", "resp_1", store=False) | {"output": [], "status": "in_progress"}),
        ("output_text.delta", None),
        ("completed", response("b", "resp_1", store=False)),
    ]
    chunks = [
        b"event: response.%s\ndata: %s\n\n"
        % (
            kind.encode(),
            json.dumps({"type": f"response.{kind}"} | ({"response": one} if one else {})).encode(),
        )
        for kind, one in events
    ]
    worker = FakeWorker(streaming(b"".join(chunks[:2]), chunks[2]))

    async def go() -> tuple[list[dict[str, Any]], Any]:
        router = routed(worker)
        async with router.client.stream("POST", PATH, json={"input": "a", "stream": True}) as answer:
            lines = [line async for line in answer.aiter_lines() if line.startswith("data:")]
        return [json.loads(line[5:]) for line in lines], await router.client.get(f"{PATH}/resp_1")

    told, shown = asyncio.run(go())
    assert [one["type"] for one in told] == [f"response.{kind}" for kind, _ in events]
    assert [one["response"]["store"] for one in told if "response" in one] == [True, True]
    assert shown.json() == told[-1]["response"]


def test_a_refusal_names_the_place_in_the_clients_own_input() -> None:
    async def refuse(request: Request, body: dict[str, Any]) -> Response:
        place = f"input[{len(body['input']) - 1}]"
        return JSONResponse({"error": {"message": f"{place}: no", "param": place}}, 400)

    worker = FakeWorker(answering("b"))

    async def go() -> Any:
        router = routed(worker)
        await router.client.post(PATH, json={"input": "a"})
        worker.answer = refuse
        further = {"input": [{"role": "user"}], "previous_response_id": "resp_1"}
        return (await router.client.post(PATH, json=further)).json()["error"]

    assert asyncio.run(go()) == {"message": "input[0]: no", "param": "input[0]"}


def test_a_count_is_of_the_whole_conversation_and_is_charged_nothing() -> None:
    async def count(request: Request, body: dict[str, Any]) -> Response:
        return JSONResponse({"input_tokens": len(body["input"])})

    worker = FakeWorker(answering("b"))

    async def go() -> tuple[Any, Any, dict[str, Any]]:
        router = routed(worker)
        await router.client.post(PATH, json={"input": "a"})
        worker.answer = count
        body = {"input": "c", "previous_response_id": "resp_1"}
        counted = await router.client.post(f"{PATH}/input_tokens", json=body)
        worker.answer = refusing(400)
        refused = await router.client.post(f"{PATH}/input_tokens", json={"input": 3})
        return counted.json(), refused.status_code, router.log[1]

    counted, refused, record = asyncio.run(go())
    assert (counted, refused) == ({"input_tokens": 3}, 400)
    assert "prompt_tokens" not in record


def test_what_is_not_of_its_form_is_for_a_worker_to_refuse_as_it_came() -> None:
    worker = FakeWorker(refusing(400))
    bodies: list[dict[str, Any]] = [
        {"input": 3, "store": True},
        {"input": "a", "store": "yes"},
        {"input": "a", "previous_response_id": 7},
        {"input": ["a"]},
        {},
    ]

    async def go() -> list[int]:
        router = routed(worker)
        return [(await router.client.post(PATH, json={"model": "tiny", **one})).status_code for one in bodies]

    assert set(asyncio.run(go())) == {400}
    assert worker.bodies == [{"model": "tiny", **one} for one in bodies]


@pytest.mark.parametrize("empty", ["", [], None])
@pytest.mark.parametrize("path", [PATH, f"{PATH}/input_tokens"])
def test_an_empty_turn_is_told_for_what_it_is_though_its_conversation_is_here(path: str, empty: Any) -> None:
    worker = FakeWorker(answering("b"))

    async def go() -> Any:
        router = routed(worker)
        await router.client.post(PATH, json={"input": "a"})
        body = {"input": empty, "previous_response_id": "resp_1"}
        return (await router.client.post(path, json=body)).json()["error"]

    error = asyncio.run(go())
    assert (error["param"], error["message"]) == ("input", "input: is empty")
    assert len(worker.bodies) == 1


@pytest.mark.parametrize("more", [{"store": False}, {"keeps": False}])
def test_what_is_not_to_be_kept_is_not(more: dict[str, bool]) -> None:
    worker = FakeWorker(answering("b"))

    async def go() -> list[Any]:
        router = routed(worker)
        if "keeps" in more:
            router.state.kept = KeptResponses(most_bytes=0)
        body = {"input": "a"} | ({"store": False} if "store" in more else {})
        told = await router.client.post(PATH, json=body)
        shown = await router.client.get(f"{PATH}/resp_1")
        further = await router.client.post(PATH, json={"input": "c", "previous_response_id": "resp_1"})
        insisting = await router.client.post(PATH, json={"input": "a", "store": True})
        return [told.json()["store"], shown.status_code, further.status_code, insisting.status_code]

    assert asyncio.run(go()) == [False, 404, 400, 200 if "store" in more else 400]
    assert all(one["store"] is False for one in worker.bodies)


def test_a_key_does_not_go_on_from_anothers_response() -> None:
    worker = FakeWorker(answering("b"))
    keys = Keys({name: KeyRules(sha256=digest_of(name)) for name in ("alice", "bob")})

    async def go() -> list[int]:
        client = routed(worker, keys=keys).client
        heads = [{"x-api-key": name} for name in ("alice", "alice", "bob")]
        bodies = [{"input": "a"}, *[{"input": "c", "previous_response_id": "resp_1"}] * 2]
        asked = zip(bodies, heads, strict=True)
        return [(await client.post(PATH, json=body, headers=head)).status_code for body, head in asked]

    assert asyncio.run(go()) == [200, 200, 400] and len(worker.bodies) == 2


def test_what_a_strange_server_says_in_its_place_goes_on_as_it_is() -> None:
    async def answer(request: Request, body: dict[str, Any]) -> Response:
        return Response("[1]", media_type="application/json")

    async def go() -> tuple[str, int]:
        router = routed(FakeWorker(answer))
        told = await router.client.post(PATH, json={"input": "a"})
        strange = routed(FakeWorker(streaming(b"event: response.completed\ndata: [1]\n\n")))
        streamed = await strange.client.post(PATH, json={"input": "a", "stream": True})
        assert streamed.text == "event: response.completed\ndata: [1]\n\n"
        return told.text, told.status_code

    assert asyncio.run(go()) == ("[1]", 200)
