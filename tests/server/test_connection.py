"""Slow clients on real sockets, each beside one that is not slow."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from llmkit.server.connection import TimedConnection

NEVER = 3600.0
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """`/refuse` answers before the body is there, `/slow` a while after it, `/late` says that it is
    over when its client has all of it for long, `/large` says more than a socket holds."""
    if scope["path"] != "/refuse":
        while (await receive()).get("more_body"):
            pass
    if scope["path"] == "/slow":
        await asyncio.sleep(0.8)
    body = b"x" * (64 << 20 if scope["path"] == "/large" else 2)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/late":
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(0.3)
        body = b""
    await send({"type": "http.response.body", "body": body})


def talk(
    work: Talk,
    *,
    head: float = NEVER,
    refused: float = NEVER,
    unread: float = NEVER,
    pause: int = 3600,
    ended: asyncio.Event | None = None,
) -> Any:
    """What a client finds at a server of these patiences; `ended` is set with its connection."""

    class Connection(TimedConnection):
        head_seconds, refused_seconds, unread_seconds = head, refused, unread

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if ended is not None:
                ended.set()

    async def go() -> Any:
        config = uvicorn.Config(
            echo, port=0, http=Connection, lifespan="off", log_config=None, timeout_keep_alive=pause
        )
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(20):
                return await work(reader, writer)
        finally:
            writer.close()
            server.should_exit = server.force_exit = True
            await serving

    return asyncio.run(go())


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server ends the connection, with or without a farewell."""
    found = bytearray()
    with contextlib.suppress(ConnectionError):
        while some := await reader.read(1 << 20):
            found += some
    return bytes(found)


async def drip(writer: asyncio.StreamWriter, *parts: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.05)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: bytes = b"/") -> bytes:
    writer.write(b"GET %s HTTP/1.1\r\nhost: a\r\n\r\n" % path)
    head = await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(2) == b"xx"
    return head.splitlines()[0]


def test_a_head_that_comes_by_drops_ends_the_connection() -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        await drip(writer, b"GET / HTTP/1.1\r\n", *(b"x-%d: 1\r\n" % number for number in range(20)))
        return await rest(reader)

    assert talk(work, head=0.2) == b""


def test_a_client_that_says_nothing_is_let_go() -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        return await rest(reader)

    assert talk(work, head=0.2) == b""


def test_another_protocol_is_passed_over_and_the_log_advises_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        return (await reader.readuntil(b"\r\n\r\n")).splitlines()[0]

    assert talk(work) == b"HTTP/1.1 200 OK" and not caplog.records


def test_a_pause_between_requests_is_not_a_slow_head() -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[bytes]:
        first = await ask(reader, writer)
        await asyncio.sleep(0.5)
        return [first, await ask(reader, writer)]

    assert talk(work, head=0.2) == [b"HTTP/1.1 200 OK"] * 2


def test_the_second_head_is_timed_too() -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        await ask(reader, writer)
        writer.write(b"GET / HT")
        return await rest(reader)

    assert talk(work, head=0.2) == b""


def test_a_body_that_was_refused_is_not_waited_for() -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n")
        _, found = await asyncio.gather(drip(writer, *[b"x"] * 20), rest(reader))
        return found

    assert talk(work, refused=0.2).endswith(b"\r\n\r\nxx")


def test_a_request_after_a_refused_body_that_came_late_has_its_own_time() -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\nxx")
        writer.write(b"x")
        return await ask(reader, writer, b"/slow")

    assert talk(work, refused=0.5) == b"HTTP/1.1 200 OK"


def test_a_request_that_comes_before_the_last_word_of_an_answer_is_not_a_refused_one() -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        await ask(reader, writer, b"/late")
        writer.write(b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n")
        await asyncio.sleep(0.7)
        writer.write(b"x")
        return await reader.readuntil(b"\r\n\r\nxx")

    assert talk(work, refused=0.2).startswith(b"HTTP/1.1 200 OK")


def test_the_pause_after_a_refused_body_that_came_late_has_an_end() -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        await drip(writer, b"POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n", b"x")
        return await rest(reader)

    assert talk(work, pause=1).endswith(b"xx")


def test_an_answer_that_nobody_reads_is_given_up() -> None:
    ended = asyncio.Event()

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        return await ended.wait()

    assert talk(work, unread=0.2, ended=ended)


def test_an_answer_that_is_read_comes_whole() -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        writer.write(b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        return len(await rest(reader))

    assert talk(work, unread=1.0) == 64 << 20
