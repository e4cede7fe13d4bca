"""A server from its first request to its last: signals, draining, the end."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

from llmkit.server.connection import TimedConnection
from llmkit.server.front import FrontState

Ending = Literal["drained", "interrupted", "killed"]
KEEP_ALIVE_SECONDS = 75
HEADER_BYTES = 65_536
LAST_WORDS_SECONDS = 1.0
"""That clients have to read how their requests have ended."""


class _Uvicorn(uvicorn.Server):
    """uvicorn, whose signals are ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield


def http_server(app: ASGIApp, tls: tuple[Path, Path] | None = None) -> uvicorn.Server:
    """What speaks HTTP for an application; whoever runs it ends it by `should_exit`.

    Args:
        app: answers requests.
        tls: certificate and key.
    """
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of each write to a client that has left
    return _Uvicorn(
        uvicorn.Config(
            app,
            http=TimedConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            h11_max_incomplete_event_size=HEADER_BYTES,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
            ssl_certfile=None if tls is None else str(tls[0]),
            ssl_keyfile=None if tls is None else str(tls[1]),
        )
    )


class Run:
    """One run of a server.

    SIGTERM: running requests are finished, new ones get 503, then it ends; those that take too long get 503
    too, and streams an event that says so. A second one ends it at once, as SIGINT does.
    """

    def __init__(
        self,
        app: ASGIApp,
        state: FrontState,
        listener: socket.socket,
        *,
        drain_seconds: float,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        """
        Args:
            app: answers requests.
            state: told when the server drains; knows how many requests are under way.
            listener: where clients come in.
            drain_seconds: how long running requests have after SIGTERM.
            tls: certificate and key.
        """
        self._state = state
        self._listener = listener
        self._drain_seconds = drain_seconds
        self._ending: Ending = "drained"
        self._draining: asyncio.Task[None] | None = None
        self._server = http_server(app, tls)

    async def until_signal(self, ready: Callable[[], None]) -> Ending:
        """Serve until a signal says to end.

        Args:
            ready: called when requests are taken in.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            serving = asyncio.create_task(self._server.serve([self._listener]))
            while not self._server.started and not serving.done():
                await asyncio.sleep(0.005)
            if self._server.started:
                ready()
            await serving
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGINT)
            if self._draining is not None:
                self._draining.cancel()
        return self._ending

    def _terminate(self) -> None:
        if self._draining is not None:
            self._end("killed")
            return
        self._state.draining = True
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    def _interrupt(self) -> None:
        self._state.draining = True
        self._end("interrupted")

    async def _drain(self) -> None:
        await self._idle_within(self._drain_seconds)
        self._state.over.set()
        await self._idle_within(LAST_WORDS_SECONDS)
        if self._state.in_flight:  # for clients that do not read, or have not sent their body
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()
        self._server.should_exit = True

    async def _idle_within(self, seconds: float) -> None:
        """Wait until no request is under way, and no longer than that."""
        until = asyncio.get_running_loop().time() + seconds
        while self._state.in_flight and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.02)

    def _end(self, ending: Ending) -> None:
        self._state.over.set()
        self._ending = ending
        self._server.force_exit = self._server.should_exit = True
