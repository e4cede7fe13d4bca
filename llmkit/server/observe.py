"""Around every request: its id, how many are under way, and one line of the log when it is over."""

import json
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmkit.server.gate import Caller, Slot

RequestLog = Callable[[dict[str, Any]], None]
_ID_HEADERS = (b"x-request-id", b"request-id")
"""In which OpenAI's library looks for an answer's id, and Anthropic's."""
_ID_LETTERS = 64
_USER_LETTERS = 64
"""Of OpenAI's too."""
_BODY_BYTES = 16 << 10
"""Of an answer that is an error, looked at; ours are shorter."""
_CODE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")


class Counted(Protocol):
    """Whoever knows how many requests are under way."""

    in_flight: int


class Observe:
    """Middleware that watches."""

    def __init__(self, app: ASGIApp, *, state: Counted, tell: RequestLog) -> None:
        """
        Args:
            app: what it is put around.
            state: counts requests under way.
            tell: takes a record for each that is over.
        """
        self._app = app
        self._state = state
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, body = time.monotonic(), 0, b""
        shared = scope.setdefault("state", {})
        request_id = _own_id(scope) or f"req_{secrets.token_hex(12)}"
        shared["request_id"] = request_id

        async def noted(message: Message) -> None:
            nonlocal status, body
            if message["type"] == "http.response.start":
                status = message["status"]
                told = [(name, request_id.encode()) for name in _ID_HEADERS]
                message["headers"] = [*message.get("headers", ()), *told]
            elif status >= 400 and len(body) < _BODY_BYTES:
                body += message.get("body", b"")
            await send(message)

        self._state.in_flight += 1
        try:
            await self._app(scope, receive, noted)
        finally:
            self._state.in_flight -= 1
            self._tell(record_of(scope, status, time.monotonic() - began, body))


def record_of(scope: Scope, status: int, seconds: float, refusal: bytes = b"") -> dict[str, Any]:
    """A request in the log: who, what, how long, how many tokens, why not; nothing that was said.

    Args:
        scope: of the request; its state holds the caller and the slot, where it came so far.
        status: of the answer; 499 where the client left before there was one.
        seconds: from its arrival to the end of its answer.
        refusal: the answer, where it is an error.
    """
    shared = scope.get("state", {})
    caller, slot = shared.get("caller"), shared.get("slot")
    record: dict[str, Any] = {
        "time_seconds": round(time.time(), 3),
        "request_id": shared.get("request_id"),
        "method": scope["method"],
        "path": scope["path"],
        "status": status or 499,
        "seconds": round(seconds, 6),
    }
    if isinstance(caller, Caller) and caller.name:
        record["key"] = caller.name
    if shared.get("user"):
        record["user"] = shared["user"][:_USER_LETTERS]
    if "model" in shared:
        record["model"] = shared["model"]
    if shared.get("lora"):
        record["lora"] = dict(shared["lora"])
    if isinstance(slot, Slot):
        record |= {
            "prompt_tokens": slot.usage.prompt_tokens,
            "cached_tokens": slot.usage.cached_tokens,
            "completion_tokens": slot.usage.completion_tokens,
            "finish_reason": slot.finished,
        }
        if slot.error is not None:
            record["error"] = slot.error
        if slot.answers > 1:
            record["answers"] = slot.answers
        if slot.tool_calls:
            record["tool_calls"] = slot.tool_calls
        if slot.first_token_seconds is not None:
            record["first_token_seconds"] = round(slot.first_token_seconds, 6)
    record |= _why(refusal)
    if "prompt" in shared:
        record["prompt"] = shared["prompt"]
    return record


def _why(refusal: bytes) -> dict[str, str]:
    """The code of an error; not its message, which may have words of the request, as of an unknown key."""
    try:
        told = json.loads(refusal)["error"]
        code = told.get("code") or told.get("type")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return {}
    return {"error": code} if isinstance(code, str) and _CODE.fullmatch(code) else {}


def _own_id(scope: Scope) -> str | None:
    """The id that a client gave its request, where it is harmless."""
    told = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    plain = told.isascii() and all(letter.isalnum() or letter in "-_." for letter in told)
    return told if told and plain and len(told) <= _ID_LETTERS else None
