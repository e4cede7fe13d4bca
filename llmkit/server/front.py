"""What stands before every application of ours, torch-free: the key asked for, pages of others kept out, the
body capped, errors told.

Deny by default: a route answers a caller with a key, unless it is on the list of those that tell nobody
anything.
"""

import asyncio
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmkit.server.ending import draining, unless
from llmkit.server.errors import ApiError, Dialect, client_left, failed_inside
from llmkit.server.gate import Gate
from llmkit.server.observe import Observe, RequestLog
from llmkit.server.own_origin import OwnOrigin

OPEN = ("/", "/health", "/ready")
"""Paths that need no key."""
EXPOSED = ("x-request-id", "request-id", "retry-after", "retry-after-ms", "x-should-retry")
"""Headers of answers that pages of other origins may read: what their libraries go by."""
MOST_BODY_BYTES = 2 << 20
BODY_SECONDS = 60.0
"""That a body may take to come in."""

Handler = Callable[[Request], Awaitable[Response]]
T = TypeVar("T")


class FrontState(Protocol):
    """What is asked of the state that an application's handlers share."""

    gate: Gate
    draining: bool
    """Whether new requests are refused, because the server is about to end."""
    in_flight: int
    """Requests under way."""
    over: asyncio.Event
    """Set when their time is over: what is under way ends with `draining`."""


def put_in_front(
    routes: list[Route],
    state: FrontState,
    *,
    tell: RequestLog,
    origins: Sequence[str] = (),
    host: str | None = None,
) -> Starlette:
    """An application of some routes, with all that a request goes through on its way to them.

    Args:
        routes: made by `route`.
        state: what the handlers find as `request.app.state.serve`.
        tell: takes a record of each request.
        origins: whose pages may ask, beside its own; none by default.
        host: where it listens; None: on a Unix socket.
    """
    app = Starlette(routes=routes, exception_handlers={HTTPException: _not_routed})
    app.router.redirect_slashes = False  # to an address made of what the client calls us
    app.state.serve = state
    app.state.own_origin = OwnOrigin(origins, host)
    app.add_middleware(BodyCap, most_bytes=MOST_BODY_BYTES, seconds=BODY_SECONDS)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],  # the openai and anthropic libraries send a dozen of their own
            allow_private_network=True,  # whoever names a public page wants it to reach this machine
            expose_headers=EXPOSED,
        )
    app.add_middleware(Observe, state=state, tell=tell)
    return app


def dialect_of(path: str) -> Dialect:
    """Whose words a path speaks."""
    return "anthropic" if path.startswith("/v1/messages") else "openai"


def error_response(error: ApiError, path: str) -> Response:
    """An error in the words of the path that it is for."""
    dialect = dialect_of(path)
    return as_json(error.body(dialect), error.status_for(dialect), error.headers())


async def until_gone(request: Request, work: Awaitable[T]) -> T:
    """What some work gives, unless the client leaves first, which cancels it.

    Raises:
        ApiError: 499: nobody waits any more.
    """
    return await unless(work, _gone(request), client_left())


def as_json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer in one piece."""
    body = msgspec.json.encode(content)
    return Response(body, status, headers=headers, media_type="application/json")


class HeldStream(StreamingResponse):
    """A stream that holds something, which is given back however the stream ends: even where the client has
    left before the first event, and none is asked for."""

    def __init__(self, events: AsyncIterable[bytes], held: AsyncExitStack) -> None:
        """
        Args:
            events: server-sent.
            held: closed at the end.
        """
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._held.aclose()


class BodyCap:
    """Refuses a body that is larger than any request, as soon as that is known, that takes too long, or whose
    end is told in two ways."""

    def __init__(self, app: ASGIApp, most_bytes: int, seconds: float) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if b"content-length" in headers and b"transfer-encoding" in headers:
            # RFC 9112, 6.1 and 6.3: what a proxy before us takes for the next request may be this one's body
            problem = "content-length and transfer-encoding contradict each other"
            refusal = error_response(ApiError(400, problem, code="bad_request"), scope["path"])
            refusal.headers["connection"] = "close"
            await refusal(scope, receive, send)
            return
        told = headers.get(b"content-length", b"0")
        if told.isdigit() and int(told) > self._most_bytes:
            await self._refuse(scope, receive, send)
            return
        seen, whole = 0, False
        until = asyncio.get_running_loop().time() + self._seconds

        async def counted() -> Message:
            nonlocal seen, whole
            if whole:  # from here on, only that the client leaves
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                problem = f"the body took more than {self._seconds:g} seconds to come in"
                raise ApiError(408, problem, code="body_timeout") from None
            seen += len(message.get("body", b""))
            if seen > self._most_bytes:
                raise self._error()
            whole = not message.get("more_body", False)
            return message

        try:
            await self._app(scope, counted, send)
        except ApiError as error:
            await error_response(error, scope["path"])(scope, receive, send)

    def _error(self) -> ApiError:
        return ApiError(413, f"the body has more than {self._most_bytes:,} bytes", code="request_too_large")

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await error_response(self._error(), scope["path"])(scope, receive, send)


def route(path: str, handler: Handler, *methods: str) -> Route:
    """A route whose caller is known and whose errors are told."""

    async def answer(request: Request) -> Response:
        state: FrontState = request.app.state.serve
        try:
            if path not in OPEN:
                request.state.caller = caller = state.gate.identify(_key(request))
                if not caller.name:  # no key was asked for
                    request.app.state.own_origin.check(request.method, request.headers)
                if state.draining and request.method == "POST":
                    raise draining()
            return await unless(handler(request), state.over.wait(), draining())
        except ApiError as error:
            return error_response(error, request.url.path)
        except ClientDisconnect:  # in the middle of its body
            return error_response(client_left(), request.url.path)
        except Exception:
            logging.getLogger("llmkit.serve").exception("%s %s", request.method, path)
            return error_response(failed_inside(), request.url.path)

    return Route(path, answer, methods=list(methods))


def _key(request: Request) -> str | None:
    """The key that came with a request, in OpenAI's header or in Anthropic's."""
    bearer = request.headers.get("authorization", "")
    kind, _, key = bearer.partition(" ")
    if kind.lower() == "bearer" and key.strip():
        return key.strip()
    return request.headers.get("x-api-key")


async def _not_routed(request: Request, error: Exception) -> Response:
    """No such path, or not with this method."""
    assert isinstance(error, HTTPException)
    state: FrontState = request.app.state.serve
    try:
        state.gate.identify(_key(request))  # what is here and what is not, a stranger is not told
    except ApiError as stranger:
        return error_response(stranger, request.url.path)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    what = f"{request.method} {request.url.path}: {str(error.detail).lower()}"
    answer = error_response(ApiError(error.status_code, what, code=code), request.url.path)
    answer.headers.update(error.headers or {})  # which methods there are
    return answer


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
