"""What stands before every application: it answers those with a key, and gives back what a request held."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.errors import ApiError
from llmkit.server.front import HeldStream, as_json, put_in_front, route
from llmkit.server.gate import Caller, Gate, OpenGate


class OneKey(OpenGate):
    def identify(self, key: str | None) -> Caller:
        if key != "k":
            raise ApiError(401, "no")
        return Caller("one")


@dataclass
class Shared:
    gate: Gate
    draining: bool = False
    in_flight: int = 0


async def echo(request: Request) -> Response:
    body = await request.body()
    if body == b"fails":
        raise RuntimeError("secret")
    return as_json({"caller": request.state.caller.name, "bytes": len(body)})


async def open_to_all(request: Request) -> Response:
    return as_json({})


def ask(method: str, path: str, *, draining: bool = False, **more: Any) -> httpx.Response:
    async def go() -> httpx.Response:
        routes = [route("/echo", echo, "POST"), route("/health", open_to_all, "GET")]
        app = put_in_front(routes, Shared(OneKey(), draining), tell=lambda record: None)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://s") as client:
            return await client.request(method, path, **more)

    return asyncio.run(go())


@pytest.mark.parametrize(
    "headers", [{"authorization": "Bearer k"}, {"authorization": "bearer k"}, {"x-api-key": "k"}]
)
def test_a_key_is_taken_from_either_header(headers: dict[str, str]) -> None:
    assert ask("POST", "/echo", headers=headers).json() == {"caller": "one", "bytes": 0}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/echo", {}, 401),
        ("POST", "/echo", {"authorization": "Basic k"}, 401),
        ("GET", "/nowhere", {}, 401),
        ("GET", "/nowhere", {"x-api-key": "k"}, 404),
        ("GET", "/echo", {"x-api-key": "k"}, 405),
        ("GET", "/health", {}, 200),
    ],
)
def test_a_stranger_learns_nothing_but_health(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert ask(method, path, headers=headers).status_code == status


def test_what_goes_wrong_inside_stays_inside() -> None:
    answer = ask("POST", "/echo", headers={"x-api-key": "k"}, content=b"fails")
    assert answer.status_code == 500 and "secret" not in answer.text


def test_a_server_that_is_about_to_end_takes_nothing_in() -> None:
    assert ask("POST", "/echo", headers={"x-api-key": "k"}, draining=True).status_code == 503


@pytest.mark.parametrize("leaves", ["before the first event", "after it", "never"])
def test_what_a_stream_holds_is_given_back_however_it_ends(leaves: str) -> None:
    given_back: list[bool] = []
    sent: list[bytes] = []

    async def events() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        if leaves == "after it":
            await asyncio.Event().wait()
        yield b"data: 2\n\n"

    async def go() -> None:
        begun = asyncio.Event()
        stack = AsyncExitStack()
        stack.callback(lambda: given_back.append(True))

        async def receive() -> dict[str, Any]:
            if leaves != "before the first event":
                await begun.wait()
            if leaves == "never":
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if leaves == "before the first event":
                await asyncio.Event().wait()
            sent.append(message.get("body", b""))
            if sent[-1]:
                begun.set()

        scope = {
            "type": "http",
            "asgi": {"spec_version": "2.3"},
            "method": "POST",
            "path": "/",
            "headers": [],
        }
        await HeldStream(events(), stack)(scope, receive, send)

    asyncio.run(go())
    assert given_back == [True]
    assert (b"data: 2\n\n" in sent) == (leaves == "never")
