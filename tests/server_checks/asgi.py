"""A client that can leave: it calls an application as a server does, and hangs up when it is told to."""

import asyncio
import json
from typing import Any

from starlette.types import Message


class Call:
    """One request to an application."""

    def __init__(self, app: Any, path: str, body: Any, *, whole: bool = True) -> None:
        """whole: whether all of the body comes; else the client leaves in the middle of it."""
        self.status = 0
        self.body = b""
        self.changed = asyncio.Event()
        """Set with whatever comes, cleared by whoever waits."""
        self._left = asyncio.Event()
        self._sent = False
        self._whole = whole
        self._content = json.dumps(body).encode()
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": "POST", "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "headers": [], "server": ("server", 80), "client": ("client", 1),
        }  # fmt: skip
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    def leave(self) -> None:
        """Hang up."""
        self._left.set()

    async def until(self, part: bytes) -> None:
        """Wait until the answer has this part, or is over."""
        while part not in self.body and not self.task.done():
            self.changed.clear()
            await asyncio.wait(
                (self.task, asyncio.ensure_future(self.changed.wait())), return_when=asyncio.FIRST_COMPLETED
            )

    async def _receive(self) -> Message:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self._content, "more_body": not self._whole}
        if self._whole:
            await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.body += message.get("body", b"")
        self.changed.set()
