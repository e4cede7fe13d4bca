"""The functions of an MCP server, spoken with over its stdin and stdout.

JSON-RPC 2.0, a message a line. Of the protocol only tools are used: a server that asks anything of us is told
that we have no such method. Source: the Model Context Protocol, revision 2025-06-18, "Lifecycle",
"Transports: stdio", "Tools", "Cancellation".
"""

import json
import os
import re
import selectors
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from llmkit.errors import LlmkitError
from llmkit.retrieve.tools.alone import Alone
from llmkit.retrieve.tools.config import ToolError, ToolLimits, ToolSpec, read_spec
from llmkit.retrieve.tools.leave import POLL_SECONDS, check_awaited, is_over
from llmkit.retrieve.tools.process_group import end_group
from llmkit.version import __version__

_VERSION = "2025-06-18"
_KNOWN = (_VERSION, "2025-03-26", "2024-11-05")
_START_SECONDS = 30.0
_GRACE_SECONDS = 2.0  # for a server to end once its input has
_MOST_PAGES = 100
_MOST_LINE_BYTES = 4 << 20
_UNKNOWN_METHOD = -32601
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


class McpServer:
    """A running server; a context manager, which ends it and all that it started.

    Attributes:
        tools: its functions.
    """

    def __init__(self, command: Sequence[str], limits: ToolLimits, prefix: str = "") -> None:
        """
        Args:
            command: the server and its arguments; what it says on stderr goes to ours.
            limits: of one call.
            prefix: what its functions' names begin with here.

        Raises:
            LlmkitError: it cannot be run, or does not speak the protocol.
            DataError: one of its functions is none.
        """
        self._shown = " ".join(command)
        self._limits, self._prefix = limits, prefix
        self._alone = Alone(limits.seconds)
        self._last = 0
        self._unread = b""
        try:
            self._process = subprocess.Popen(
                list(command),
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # a group of its own, which can be ended as a whole
            )
        except OSError as error:
            raise self._wrong(f"cannot be run: {error.strerror}") from None
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        os.set_blocking(self._stdout.fileno(), False)
        try:
            self.tools = self._begin()
        except BaseException as error:
            self.close()
            if isinstance(error, ToolError):
                raise self._wrong(str(error)) from None
            raise

    def __enter__(self) -> "McpServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, name: str, arguments: dict[str, Any]) -> str:
        """The result of a function.

        Raises:
            ToolError: there is none.
        """
        with self._alone.turn():
            told = self._called({"name": name, "arguments": arguments})
        content = told.get("content", [])
        if not isinstance(content, list):
            raise ToolError("the server's result has no content")
        parts = [one.get("text") for one in content if isinstance(one, dict) and one.get("type") == "text"]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) == len(content) and texts:
            result = "\n".join(texts)
        else:
            result = json.dumps(told.get("structuredContent", content), ensure_ascii=False)
        if len(result.encode(errors="replace")) > self._limits.output_bytes:
            raise ToolError(f"more than {self._limits.output_bytes:,} bytes of output")
        if told.get("isError"):
            raise ToolError(result or "the server says that it failed")
        return result

    def _called(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A result; a server whose result nobody waits for any more is told so."""
        try:
            return self._ask("tools/call", asked, self._limits.seconds)
        except ToolError:
            if is_over():
                params = {"requestId": self._last, "reason": "nobody waits for the result any more"}
                message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
                with suppress(ToolError):
                    self._send(message, time.monotonic() + POLL_SECONDS)
            raise

    def close(self) -> None:
        """End its input, and after a moment it and whatever it started. May be called twice."""
        with suppress(OSError):
            self._stdin.close()
        if self._process.returncode is None:
            end_group(self._process, _GRACE_SECONDS)
        self._stdout.close()

    def _begin(self) -> list["McpTool"]:
        about = {"name": "llmkit", "version": __version__}
        asked = {"protocolVersion": _VERSION, "capabilities": {}, "clientInfo": about}
        told = self._ask("initialize", asked, _START_SECONDS)
        if told.get("protocolVersion") not in _KNOWN:
            raise ToolError(f"speaks version {told.get('protocolVersion')!r} of the protocol")
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        self._send(ready, time.monotonic() + _START_SECONDS)
        found: list[McpTool] = []
        cursor: dict[str, Any] = {}
        for _ in range(_MOST_PAGES):
            told = self._ask("tools/list", cursor, _START_SECONDS)
            if not isinstance(told.get("tools"), list):
                raise ToolError("lists no tools")
            found += map(self._tool, told["tools"])
            if not told.get("nextCursor"):
                return found
            cursor = {"cursor": told["nextCursor"]}
        raise ToolError("lists tools without end")

    def _tool(self, told: Any) -> "McpTool":
        theirs = told.get("name") if isinstance(told, dict) else None
        if not isinstance(theirs, str):
            raise ToolError("lists a tool without a name")
        name = self._prefix + _NOT_IN_NAMES.sub("_", theirs)[:64]
        return McpTool(read_spec(json.dumps(told), self._shown, name), self, theirs)

    def _ask(self, method: str, params: dict[str, Any], seconds: float) -> dict[str, Any]:
        """What it answers. Answers to earlier questions, which came too late, are passed over."""
        self._last += 1
        number, deadline = self._last, time.monotonic() + seconds
        self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params}, deadline)
        while True:
            message = self._receive(deadline, f"no answer within {seconds:g} seconds")
            if "method" in message:
                if message.get("id") is not None:
                    self._send(_answer_to(message), deadline)
            elif message.get("id") == number:
                break
        error = message.get("error")
        if error is not None:
            told = error.get("message") if isinstance(error, dict) else error
            raise ToolError(f"the server refuses: {str(told)[:500]}")
        result = message.get("result")
        if not isinstance(result, dict):
            raise ToolError("the server's answer has no result")
        return result

    def _send(self, message: dict[str, Any], deadline: float) -> None:
        left = memoryview(json.dumps(message).encode() + b"\n")
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdin, selectors.EVENT_WRITE)
            while left:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise ToolError("the server does not read")
                try:
                    left = left[self._stdin.write(left[: 1 << 16]) or 0 :]
                except BrokenPipeError:
                    raise ToolError("the server has ended") from None

    def _receive(self, deadline: float, late: str) -> dict[str, Any]:
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                left = deadline - time.monotonic()
                ready = selector.select(min(max(0.0, left), POLL_SECONDS))
                check_awaited()
                if time.monotonic() > deadline:
                    raise ToolError(late)
                if not ready:
                    continue
                found = self._stdout.read(1 << 16)
                if found == b"":
                    raise ToolError("the server has ended")
                self._unread += found or b""
                if len(self._unread) > _MOST_LINE_BYTES:
                    raise ToolError(f"the server's message has more than {_MOST_LINE_BYTES:,} bytes")
        if time.monotonic() > deadline:
            raise ToolError(late)  # however much it says, if none of it is the answer
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise ToolError(f"the server says what is no message: {line[:60].decode(errors='replace')!r}")
        return message

    def _wrong(self, why: str) -> LlmkitError:
        return LlmkitError(
            f"mcp={self._shown}: {why}", hint="it is to speak MCP over stdio; what it logs belongs on stderr"
        )


@dataclass(frozen=True)
class McpTool:
    """One function of a server."""

    spec: ToolSpec
    server: McpServer
    name: str
    """What the server calls it."""

    def call(self, arguments: dict[str, Any]) -> str:
        """See `Tool.call`."""
        return self.server.call(self.name, arguments)


def _answer_to(message: dict[str, Any]) -> dict[str, Any]:
    """To what a server asks of us: that we are there, or that we have no such method."""
    if message["method"] == "ping":
        return {"jsonrpc": "2.0", "id": message["id"], "result": {}}
    error = {"code": _UNKNOWN_METHOD, "message": "Method not found"}
    return {"jsonrpc": "2.0", "id": message["id"], "error": error}
