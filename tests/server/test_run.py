"""Signals: the first lets requests end, the second does not; Ctrl-C does not either."""

import asyncio
import logging
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from llmkit.server.ending import until_over
from llmkit.server.errors import ApiError
from llmkit.server.front import HeldStream, as_json, put_in_front, route
from llmkit.server.gate import OpenGate
from llmkit.server.listener import open_port
from llmkit.server.observe import Observe
from llmkit.server.run import Run, http_server
from llmkit.server.sse import data


class State:
    gate = OpenGate()
    draining = False
    in_flight = 0

    def __init__(self) -> None:
        self.over = asyncio.Event()


def run_with(signals: list[int], *, slow: float) -> tuple[str, int | None]:
    """How a server ends, and the status of a request that is under way when the signals come."""

    async def answer(request: Request) -> PlainTextResponse:
        await asyncio.sleep(slow)
        return PlainTextResponse("done")

    async def go() -> tuple[str, int | None]:
        state = State()
        app = Observe(Starlette(routes=[Route("/", answer)]), state=state, tell=lambda record: None)
        with open_port("127.0.0.1", 0) as listener:
            port = listener.getsockname()[1]
            run = Run(app, state, listener, drain_seconds=10.0)  # type: ignore[arg-type]
            ready = asyncio.Event()
            ending = asyncio.create_task(run.until_signal(ready.set))
            await ready.wait()
            async with httpx.AsyncClient() as client:
                asked = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/"))
                while not state.in_flight:
                    await asyncio.sleep(0.005)
                for one in signals:
                    os.kill(os.getpid(), one)
                    await asyncio.sleep(0.01)
                assert state.draining
                try:
                    status = (await asked).status_code
                except httpx.HTTPError:
                    status = None
            return await ending, status

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("signals", "slow", "ending", "status"),
    [
        ([signal.SIGTERM], 0.2, "drained", 200),
        ([signal.SIGTERM, signal.SIGTERM], 30.0, "killed", None),
        ([signal.SIGINT], 30.0, "interrupted", None),
    ],
)
def test_how_a_server_ends(signals: list[int], slow: float, ending: str, status: int | None) -> None:
    found, answered = run_with(signals, slow=slow)
    assert found == ending and (answered == status or (status is None and answered in (None, 500)))


async def never(request: Request) -> Response:
    await asyncio.Event().wait()
    return as_json({})


async def endless(request: Request) -> Response:
    """Events without an end: as fast as they are read, or one and then none."""
    over, fast = request.app.state.serve.over, request.url.path == "/fast"

    async def source() -> AsyncGenerator[bytes]:
        yield b"data: first\n\n"
        while fast:
            await asyncio.sleep(0)
            yield b"data: " + b"x" * 65_536 + b"\n\n"
        await asyncio.Event().wait()

    async def events() -> AsyncGenerator[bytes]:
        try:
            async for one in until_over(over, source()):
                yield one
        except ApiError as error:
            yield data(error.body())

    return HeldStream(events(), AsyncExitStack())


def test_what_is_under_way_when_the_time_to_drain_is_over_ends_with_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whole requests get JSON, streams an event, and a client that reads nothing holds nobody up."""
    records: list[dict[str, Any]] = []

    async def go() -> tuple[str, httpx.Response, bytes]:
        state = State()
        routes = [route("/whole", never, "GET"), *(route(one, endless, "GET") for one in ("/slow", "/fast"))]
        app = put_in_front(routes, state, tell=records.append)
        with open_port("127.0.0.1", 0) as listener, socket.socket() as silent:
            port = listener.getsockname()[1]
            run = Run(app, state, listener, drain_seconds=0.05)
            ready = asyncio.Event()
            ending = asyncio.create_task(run.until_signal(ready.set))
            await ready.wait()
            silent.connect(("127.0.0.1", port))
            silent.sendall(b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n")
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                whole = asyncio.create_task(client.get("/whole"))
                stream = asyncio.create_task(client.get("/slow"))
                while state.in_flight < 3:
                    await asyncio.sleep(0.005)
                os.kill(os.getpid(), signal.SIGTERM)
                return await ending, await whole, (await stream).content

    ending, whole, stream = asyncio.run(asyncio.wait_for(go(), 20))
    assert ending == "drained" and (whole.status_code, whole.json()["error"]["code"]) == (503, "draining")
    first, last, rest = stream.split(b"\n\n")
    assert first == b"data: first" and b'"code":"draining"' in last and rest == b""
    assert len(records) == 3
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []


def test_a_client_that_leaves_in_the_middle_of_a_stream_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    written = []

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await asyncio.sleep(0.05)
        client.close()
        for _ in range(20):  # at once: the server has not yet heard that the client is gone
            await send({"type": "http.response.body", "body": b"more", "more_body": True})
        written.append(scope["path"])

    async def go() -> None:
        server = http_server(stream)
        with open_port("127.0.0.1", 0) as listener:
            serving = asyncio.create_task(server.serve([listener]))
            client.connect(listener.getsockname())
            client.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )  # to leave with RST
            client.sendall(b"GET /gone HTTP/1.1\r\nHost: x\r\n\r\n")
            while not written:
                await asyncio.sleep(0.01)
            server.should_exit = True
            await serving

    with socket.socket() as client:
        asyncio.run(asyncio.wait_for(go(), 20))
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_with_a_certificate_the_server_speaks_tls_and_nothing_else(tmp_path: Path) -> None:
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    made = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(["openssl", *made, *names, *files], check=True, capture_output=True)

    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.url.scheme)

    async def go() -> str:
        app = Starlette(routes=[Route("/", answer)])
        with open_port("127.0.0.1", 0) as listener:
            port = listener.getsockname()[1]
            run = Run(app, State(), listener, drain_seconds=1.0, tls=(cert, key))  # type: ignore[arg-type]
            ready = asyncio.Event()
            ending = asyncio.create_task(run.until_signal(ready.set))
            await ready.wait()
            async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(cert))) as client:
                text = (await client.get(f"https://127.0.0.1:{port}/")).text
                with pytest.raises(httpx.HTTPError):
                    await client.get(f"http://127.0.0.1:{port}/")
            os.kill(os.getpid(), signal.SIGTERM)
            assert await ending == "drained"
            return text

    assert asyncio.run(go()) == "https"
