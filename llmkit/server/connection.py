"""A client's connection whose clocks run: one that sends or reads by drops must not hold its place for ever.

uvicorn bounds the pause between two requests, and neither how long the head of a request takes, nor what
comes of a body that was refused, nor how long an answer waits to be read. A body's own time is
`front.BodyCap`'s.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class TimedConnection(H11Protocol):
    """uvicorn's connection, ended when its client is too slow.

    Attributes:
        head_seconds: that the head of a request may take, from the connection or from its first byte.
        refused_seconds: that a client has to read the answer to a body that it has not sent whole.
        unread_seconds: that an answer may wait for its client to read any of it.
    """

    head_seconds = 10.0
    refused_seconds = 2.0
    unread_seconds = 60.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As uvicorn makes it."""
        super().__init__(*args, **kwargs)
        self._head = _Clock()
        self._refused = _Clock()
        self._unread = _Clock()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there, and has said nothing."""
        super().connection_made(transport)
        self._head.start(self.loop, self.head_seconds, self._end)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        for clock in (self._head, self._refused, self._unread):
            clock.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """It says something."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """It has its answer."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """It does not read what is written."""
        super().pause_writing()
        self._watch_unread(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._unread.stop()

    def _should_upgrade(self) -> bool:
        """Never: a server may pass over `Upgrade` (RFC 9110, 7.8), and uvicorn would advise in our log what
        to install for WebSockets."""
        return False

    def _watch(self) -> None:
        """Let the one clock run that is for what the client does now."""
        is_sending = self.conn.their_state is h11.SEND_BODY
        if is_sending and self.conn.our_state in (h11.DONE, h11.MUST_CLOSE):  # answered, and nobody reads it
            self._refused.start(self.loop, self.refused_seconds, self._end)
        else:  # whole now: the next request has its own time
            self._refused.stop()
        if self.conn.their_state is not h11.IDLE:
            self._head.stop()
        elif self.conn.trailing_data[0]:
            self._head.start(self.loop, self.head_seconds, self._end)
        elif self.timeout_keep_alive_task is None:  # the end of a refused body has stopped it
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _watch_unread(self, before: int) -> None:
        """End it where nothing of what waits is read for a while; a slow reader that reads has its time."""

        def look() -> None:
            self._unread.stop()
            left = self.transport.get_write_buffer_size()
            if left < before:
                self._watch_unread(left)
            else:
                self.transport.abort()

        self._unread.start(self.loop, self.unread_seconds, look)

    def _end(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class _Clock:
    """Does something later, unless it is stopped; starting it twice does not set it back."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is None:
            self._timer = loop.call_later(seconds, then)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
