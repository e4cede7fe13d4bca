"""A line to one running MCP server: questions that overlap, each of which gets the answer with its id.

JSON-RPC 2.0, a message a line, over the server's stdin and stdout. A thread reads while anybody waits; else
what the server says stays in the pipe, and one that says too much is held up. Source: the Model Context
Protocol, revision 2025-06-18, "Transports: stdio", "Lifecycle: Timeouts", "Cancellation".
"""

import json
import os
import re
import selectors
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from llmkit.retrieve.tools.config import ToolError
from llmkit.retrieve.tools.leave import POLL_SECONDS, check_awaited
from llmkit.retrieve.tools.process_group import end_group, has_ended

_GRACE_SECONDS = 2.0  # for a server to end once its input has
_ANSWER_SECONDS = 5.0  # for a server to read our answer to what it asks
_MOST_LINE_BYTES = 4 << 20
_MOST_DROPPED_BYTES = 256 << 20
"""Of one message that is too long: a server that says more never ends its line."""
_EDGE_BYTES = 200
"""Of both ends of a message that is too long: where its id is."""
_UNKNOWN_METHOD = -32601
_VERSION_KEY = rb'"jsonrpc"\s*:\s*"2\.0"\s*'
_ID_FIRST = re.compile(rb"\s*\{\s*(?:" + _VERSION_KEY + rb',\s*)?"id"\s*:\s*(\d+)\s*,')
_ID_LAST = re.compile(rb',\s*"id"\s*:\s*(\d+)\s*(?:,\s*' + _VERSION_KEY + rb")?\}\s*$")


@dataclass
class _Asked:
    """A question on its way."""

    done: threading.Event = field(default_factory=threading.Event)
    message: dict[str, Any] = field(default_factory=dict)
    wrong: str = ""
    """Why there is no answer."""


class McpLink:
    """A running server, and questions to it from any thread."""

    def __init__(self, command: Sequence[str]) -> None:
        """command: the server and its arguments; what it says on stderr goes to ours.

        Raises:
            OSError: it cannot be run.
        """
        self.process = subprocess.Popen(
            list(command),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a group of its own, which can be ended as a whole
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        os.set_blocking(self._stdout.fileno(), False)
        self._changed = threading.Condition()  # guards the next three
        self._asked: dict[int, _Asked] = {}
        self._last = 0
        self._over = ""  # why nothing can be asked any more
        self._writing = threading.Lock()
        self._unread = bytearray()
        self._dropped = 0  # bytes of a message that is too long, beside those unread
        self._head = b""  # what it began with
        self._reader = threading.Thread(target=self._read, name="mcp", daemon=True)
        self._reader.start()

    @property
    def is_over(self) -> bool:
        """Whether nothing can be asked any more: the server has ended, or is to."""
        try:
            return bool(self._over) or has_ended(self.process)
        except ChildProcessError:  # it has been waited for: another thread closes this
            return True

    def close(self) -> None:
        """End the server's input, and after a moment it and whatever it started. May be called twice."""
        self._end("the server has been ended")
        with self._writing, suppress(OSError):
            self._stdin.close()
        if self.process.returncode is None:
            end_group(self.process, _GRACE_SECONDS)
        self._reader.join()
        self._stdout.close()

    def ask(self, method: str, params: dict[str, Any], seconds: float) -> dict[str, Any]:
        """What the server answers.

        A server whose answer nobody waits for any more, or that took too long, is told so.

        Raises:
            ToolError: it refuses, ends, does not answer in time; or nobody waits.
        """
        asked, deadline = _Asked(), time.monotonic() + seconds
        with self._changed:
            if self._over:
                raise ToolError(self._over)
            self._last += 1
            number = self._last
            self._asked[number] = asked
            self._changed.notify_all()
        try:
            message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            self._send(message, deadline)
            try:
                _wait(asked, deadline, f"no answer within {seconds:g} seconds")
            except ToolError as error:
                if method != "initialize":  # which must not be cancelled
                    self._cancel(number, str(error))
                raise
        finally:
            with self._changed:
                del self._asked[number]
        if asked.wrong:
            raise ToolError(asked.wrong)
        return _result(asked.message)

    def tell(self, method: str, seconds: float, params: dict[str, Any] | None = None) -> None:
        """Say what has no answer.

        Raises:
            ToolError: the server does not read it.
        """
        more = {} if params is None else {"params": params}
        self._send({"jsonrpc": "2.0", "method": method, **more}, time.monotonic() + seconds)

    def _cancel(self, number: int, reason: str) -> None:
        with suppress(ToolError):
            self.tell("notifications/cancelled", POLL_SECONDS, {"requestId": number, "reason": reason})

    def _send(self, message: dict[str, Any], deadline: float) -> None:
        left = memoryview(json.dumps(message).encode() + b"\n")
        whole = len(left)
        if not self._writing.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise ToolError("the server does not read")
        try:
            with selectors.DefaultSelector() as selector:
                if self._over:
                    raise ToolError(self._over)
                selector.register(self._stdin, selectors.EVENT_WRITE)
                while left:
                    if not selector.select(max(0.0, deadline - time.monotonic())):
                        if len(left) < whole:  # whatever came next would stand in the middle of this line
                            self._end("the server does not read")
                        raise ToolError("the server does not read")
                    left = left[self._stdin.write(left[: 1 << 16]) or 0 :]
        except BrokenPipeError:
            self._end("the server has ended")
            raise ToolError("the server has ended") from None
        finally:
            self._writing.release()

    def _end(self, why: str) -> None:
        """Nothing can be asked any more, and nothing that was has an answer."""
        with self._changed:
            self._over = self._over or why
            self._fail(self._over)
            self._changed.notify_all()

    def _fail(self, wrong: str) -> None:
        """Everybody who waits has no answer. Where it is not known whose a message was, it is everybody's."""
        with self._changed:
            for asked in self._asked.values():
                if not asked.done.is_set():
                    asked.wrong = wrong
                    asked.done.set()

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while self._is_awaited():
                line, feed, rest = self._unread.partition(b"\n")
                if feed:
                    self._unread = rest
                    self._hear(bytes(line))
                elif selector.select(POLL_SECONDS):
                    found = self._stdout.read(1 << 16)
                    if found == b"":
                        self._end("the server has ended")
                    self._unread += found or b""
                    self._bound()

    def _is_awaited(self) -> bool:
        """Once somebody waits; False: nobody ever will."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._over or any(not asked.done.is_set() for asked in self._asked.values())
            )
            return not self._over

    def _bound(self) -> None:
        """Of a message that is too long only both ends are kept."""
        if b"\n" in self._unread or (not self._dropped and len(self._unread) <= _MOST_LINE_BYTES):
            return
        if not self._dropped:
            self._head = bytes(self._unread[:_EDGE_BYTES])
        self._dropped += max(0, len(self._unread) - _EDGE_BYTES)
        self._unread = self._unread[-_EDGE_BYTES:]
        if self._dropped > _MOST_DROPPED_BYTES:
            self._end(f"the server's message has more than {_MOST_DROPPED_BYTES:,} bytes")

    def _hear(self, line: bytes) -> None:
        if self._dropped or len(line) > _MOST_LINE_BYTES:
            head = self._head if self._dropped else line
            self._dropped = 0
            found = _ID_FIRST.match(head) or _ID_LAST.search(line[-_EDGE_BYTES:])
            wrong = f"the server's message has more than {_MOST_LINE_BYTES:,} bytes"
            if found is None:
                self._fail(wrong)
            else:
                self._answer(int(found[1]), {}, wrong)
            return
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self._fail(f"the server says what is no message: {line[:60].decode(errors='replace')!r}")
        elif "method" not in message:
            self._answer(message.get("id"), message)
        elif message.get("id") is not None:
            with suppress(ToolError):  # who waits has an answer all the same, or hears why there is none
                self._send(_answer_to(message), time.monotonic() + _ANSWER_SECONDS)

    def _answer(self, number: Any, message: dict[str, Any], wrong: str = "") -> None:
        """To who asked; an answer that comes too late is passed over."""
        with self._changed:
            asked = self._asked.get(number) if isinstance(number, int) else None
            if asked is not None and not asked.done.is_set():
                asked.message, asked.wrong = message, wrong
                asked.done.set()


def _wait(asked: _Asked, deadline: float, late: str) -> None:
    while True:
        left = deadline - time.monotonic()
        if asked.done.wait(min(max(0.0, left), POLL_SECONDS)):
            return
        check_awaited()
        if left <= 0:
            raise ToolError(late)  # however much it says, if none of it is the answer


def _result(message: dict[str, Any]) -> dict[str, Any]:
    error = message.get("error")
    if error is not None:
        told = error.get("message") if isinstance(error, dict) else error
        raise ToolError(f"the server refuses: {str(told)[:500]}")
    result = message.get("result")
    if not isinstance(result, dict):
        raise ToolError("the server's answer has no result")
    return result


def _answer_to(message: dict[str, Any]) -> dict[str, Any]:
    """To what a server asks of us: that we are there, or that we have no such method."""
    if message["method"] == "ping":
        return {"jsonrpc": "2.0", "id": message["id"], "result": {}}
    error = {"code": _UNKNOWN_METHOD, "message": "Method not found"}
    return {"jsonrpc": "2.0", "id": message["id"], "error": error}
