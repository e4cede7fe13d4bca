"""The functions of an MCP server, spoken with over its stdin and stdout.

Of the protocol only tools are used: a server that asks anything of us is told that we have no such method.
One that has ended is started again by the next call. Source: the Model Context Protocol, revision 2025-06-18,
"Lifecycle", "Tools".
"""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from llmkit.errors import LlmkitError
from llmkit.retrieve.tools.alone import Alone
from llmkit.retrieve.tools.config import ToolError, ToolLimits, ToolSpec, read_spec
from llmkit.retrieve.tools.leave import is_over
from llmkit.retrieve.tools.mcp_link import McpLink
from llmkit.version import __version__

_VERSION = "2025-06-18"
_KNOWN = (_VERSION, "2025-03-26", "2024-11-05")
_START_SECONDS = 30.0
_PAUSE_SECONDS = 0.5
"""Between two starts where no call between them came to a result; each time twice that."""
_MOST_PAUSE_SECONDS = 30.0
_MOST_PAGES = 100
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
        self._command = list(command)
        self._alone = Alone(_START_SECONDS)  # one start at a time; calls themselves overlap
        self._vain, self._pause_until = 0, 0.0  # starts since a call came to a result
        self._closed = False
        try:
            self._link = McpLink(command)
        except OSError as error:
            raise self._wrong(f"cannot be run: {error.strerror}") from None
        try:
            self._shake_hands(self._link)
            self.tools = self._list()
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
        """The result of a function. Calls may overlap; the limit of time is of each alone.

        Raises:
            ToolError: there is none.
        """
        link = self._running()
        told = link.ask("tools/call", {"name": name, "arguments": arguments}, self._limits.seconds)
        self._vain = 0
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

    def close(self) -> None:
        """End its input, and after a moment it and whatever it started. May be called twice."""
        self._closed = True
        self._link.close()

    def _running(self) -> McpLink:
        """The server, started again where it has ended."""
        if not self._link.is_over:
            return self._link
        with self._alone.turn():
            if self._closed or not self._link.is_over:  # another call has started it
                return self._link
            left = self._pause_until - time.monotonic()
            if self._vain and left > 0:
                raise ToolError(f"the server ends again and again: it is started again in {left:.1f} seconds")
            self._link.close()
            pause = min(_PAUSE_SECONDS * 2 ** min(self._vain, 16), _MOST_PAUSE_SECONDS)
            self._vain, self._pause_until = self._vain + 1, time.monotonic() + pause
            try:
                link = McpLink(self._command)
            except OSError as error:
                raise ToolError(f"the server cannot be run: {error.strerror}") from None
            try:
                self._shake_hands(link)
            except BaseException:
                link.close()
                if is_over():  # it is not to blame
                    self._vain -= 1
                raise
            self._link = link
            if self._closed:
                link.close()
            return link

    def _shake_hands(self, link: McpLink) -> None:
        about = {"name": "llmkit", "version": __version__}
        asked = {"protocolVersion": _VERSION, "capabilities": {}, "clientInfo": about}
        told = link.ask("initialize", asked, _START_SECONDS)
        if told.get("protocolVersion") not in _KNOWN:
            raise ToolError(f"speaks version {told.get('protocolVersion')!r} of the protocol")
        link.tell("notifications/initialized", _START_SECONDS)

    def _list(self) -> list["McpTool"]:
        found: list[McpTool] = []
        cursor: dict[str, Any] = {}
        for _ in range(_MOST_PAGES):
            told = self._link.ask("tools/list", cursor, _START_SECONDS)
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
