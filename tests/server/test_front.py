"""What stands before every application: it answers those with a key, and gives back what a request held."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
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
    over: asyncio.Event = field(default_factory=asyncio.Event)


async def echo(request: Request) -> Response:
    body = await request.body()
    if body == b"fails":
        raise RuntimeError("secret")
    return as_json({"caller": request.state.caller.name, "bytes": len(body)})


async def open_to_all(request: Request) -> Response:
    return as_json({})


def ask(
    method: str,
    path: str,
    *,
    draining: bool = False,
    origins: Sequence[str] = (),
    host: str | None = None,
    gate: Gate | None = None,
    **more: Any,
) -> httpx.Response:
    async def go() -> httpx.Response:
        routes = [route("/echo", echo, "POST")]
        routes += [route(path, open_to_all, "GET") for path in ("/health", "/models")]
        state = Shared(gate or OneKey(), draining)
        app = put_in_front(routes, state, tell=lambda record: None, origins=origins, host=host)
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


def test_a_path_with_a_slash_too_many_is_no_path_and_another_method_is_told_those_there_are() -> None:
    key = {"x-api-key": "k", "host": "evil.example"}
    slash = ask("POST", "/echo/", headers=key)
    assert slash.status_code == 404 and "location" not in slash.headers
    assert ask("POST", "/echo/", headers={"host": "evil.example"}).status_code == 401
    assert ask("GET", "/echo", headers=key).headers["allow"] == "POST"
    assert set(ask("DELETE", "/health", headers=key).headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert "allow" not in ask("DELETE", "/health").headers


def test_a_body_whose_end_is_told_in_two_ways_is_refused_and_the_connection_ends() -> None:
    both = {"x-api-key": "k", "content-length": "5", "transfer-encoding": "chunked"}
    answer = ask("POST", "/echo", headers=both, content=b"0\r\n\r\n")
    assert (answer.status_code, answer.headers["connection"]) == (400, "close")


@pytest.mark.parametrize(
    "headers",
    [
        "authorization, content-type, openai-organization, openai-project, x-stainless-arch, "
        "x-stainless-lang, x-stainless-os, x-stainless-package-version, x-stainless-retry-count, "
        "x-stainless-runtime, x-stainless-runtime-version, x-stainless-timeout",
        "anthropic-dangerous-direct-browser-access, anthropic-version, content-type, x-api-key",
    ],
)
def test_a_page_that_is_let_in_may_send_what_the_libraries_send_and_read_what_they_read(headers: str) -> None:
    origin = {"origin": "https://app.example"}
    wanted = {"access-control-request-method": "POST", "access-control-request-headers": headers}
    before = ask("OPTIONS", "/echo", headers=origin | wanted, origins=["https://app.example"])
    assert before.status_code == 200
    allowed = before.headers["access-control-allow-headers"].split(", ")
    assert "*" in allowed or set(headers.split(", ")) <= set(allowed)
    answer = ask("POST", "/echo", headers=origin | {"x-api-key": "k"}, origins=["https://app.example"])
    told = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "request-id", "retry-after", "retry-after-ms"} <= set(told)
    other = ask(
        "OPTIONS", "/echo", headers=wanted | {"origin": "https://evil"}, origins=["https://app.example"]
    )
    assert other.status_code == 400 and "access-control-allow-origin" not in other.headers


def test_a_public_page_that_is_let_in_reaches_a_server_on_its_visitors_machine_and_no_other_does() -> None:
    wanted = {"access-control-request-method": "POST", "access-control-request-private-network": "true"}
    mine, other = (
        ask("OPTIONS", "/echo", headers=wanted | {"origin": origin}, origins=["https://app.example"])
        for origin in ("https://app.example", "https://evil.example")
    )
    assert (mine.status_code, mine.headers["access-control-allow-private-network"]) == (200, "true")
    assert other.status_code == 400 and "access-control-allow-origin" not in other.headers


EVIL = {"origin": "http://evil.example", "content-type": "text/plain"}


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("POST", "/echo", {"headers": {"host": "localhost"} | EVIL}, 403),
        ("POST", "/echo", {"headers": {"host": "evil.example"}}, 403),
        ("POST", "/echo", {"headers": {"host": "localhost"}, "data": {"a": "b"}}, 200),  # as curl -d
        ("POST", "/echo", {"headers": {"host": "localhost"} | EVIL, "origins": ["http://evil.example"]}, 200),
        (
            "POST",
            "/echo",
            {"headers": {"host": "evil.example", "x-api-key": "k"} | EVIL, "gate": OneKey()},
            200,
        ),
        ("GET", "/models", {"headers": {"host": "localhost"} | EVIL}, 200),
        ("GET", "/models", {"headers": {"host": "evil.example"}}, 403),
        ("GET", "/health", {"headers": {"host": "evil.example"}}, 200),
    ],
)
def test_without_keys_pages_of_others_are_refused_and_with_keys_they_have_none(
    method: str, path: str, more: dict[str, Any], status: int
) -> None:
    answer = ask(method, path, **{"gate": OpenGate(), "host": "127.0.0.1", **more})
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["error"]["type"] == "permission_error"


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
