"""Workers for tests: small applications in this process that answer as a worker does, or fail as one may."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from llmkit.server.admission import Admission
from llmkit.server.config import AdmissionConfig
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import Keys
from llmkit.server.metrics import Metrics
from llmkit.server.router.app import build_router
from llmkit.server.router.fleet import Fleet, Version
from llmkit.server.router.state import RouterState
from llmkit.server.router.worker import Card, Worker
from llmkit.server.usage import UsageStore

Answer = Callable[[Request, dict[str, Any]], Any]


def said(text: str) -> Answer:
    """A worker that answers each completion with a text."""

    async def answer(request: Request, body: dict[str, Any]) -> Response:
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        content = {"choices": [{"index": 0, "text": text, "finish_reason": "stop"}], "usage": usage}
        return JSONResponse(content)

    return answer


def refusing(status: int) -> Answer:
    """A worker that answers with an error."""

    async def answer(request: Request, body: dict[str, Any]) -> Response:
        return JSONResponse({"error": {"message": "no", "code": "no"}}, status)

    return answer


def streaming(*chunks: bytes, breaks: bool = False) -> Answer:
    """A worker that streams chunks, and may break off after them."""

    async def answer(request: Request, body: dict[str, Any]) -> Response:
        async def told() -> AsyncIterator[bytes]:
            for one in chunks:
                yield one
                await asyncio.sleep(0)
            if breaks:
                raise httpx.RemoteProtocolError("cut")

        return StreamingResponse(told(), media_type="text/event-stream")

    return answer


class Streamed(httpx.AsyncBaseTransport):
    """Calls an application as httpx.ASGITransport does, but gives its body piece by piece, and its failures
    as those of a connection."""

    def __init__(self, app: ASGIApp, fails: Callable[[], type[Exception] | None]) -> None:
        self._app = app
        self._fails = fails

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        if (failure := self._fails()) is not None:
            raise failure("fails")
        body = await request.aread()
        started: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        scope = {
            **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http"},
            **{"method": request.method, "path": request.url.path, "raw_path": request.url.raw_path},
            **{"query_string": b"", "root_path": "", "client": None, "server": ("worker", 80)},
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
        }
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if asked:
                await asyncio.Event().wait()
            asked = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                if not started.cancelled():
                    started.set_result(message)
            else:
                pieces.put_nowait(message.get("body", b""))
                if not message.get("more_body"):
                    pieces.put_nowait(None)

        async def run() -> None:
            try:
                await self._app(scope, receive, send)
            except* httpx.TransportError:
                cut = httpx.RemoteProtocolError("cut")
                pieces.put_nowait(cut)
                if not started.done():
                    started.set_exception(cut)

        task = asyncio.create_task(run())

        class Body(httpx.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                while (one := await pieces.get()) is not None:
                    if isinstance(one, Exception):
                        raise one
                    yield one

            async def aclose(self) -> None:
                task.cancel()

        try:
            head = await started
        except asyncio.CancelledError:  # as a connection is closed that nobody wants any more
            task.cancel()
            raise
        return httpx.Response(head["status"], headers=head["headers"], stream=Body())


class FakeWorker:
    """A worker of tests.

    Attributes:
        worker: as the router sees it, up.
        bodies: of the requests that it got.
        headers: of them.
        fails: what its connections fail with now.
        left: what answers took that were given up, by the ids of their requests.
    """

    def __init__(self, answer: Answer, *, name: str = "w", model: str = "tiny", is_own: bool = True) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.fails: type[Exception] | None = None
        self.left: dict[str, str] = {}
        self.answer = answer

        async def post(request: Request) -> Response:
            body = json.loads(await request.body())
            self.bodies.append(body)
            self.headers.append(dict(request.headers))
            return await self.answer(request, body)  # type: ignore[no-any-return]

        async def health(request: Request) -> Response:
            return JSONResponse({"status": "ok"})

        async def models(request: Request) -> Response:
            return JSONResponse({"data": [{"id": model, "max_model_len": 100}]})

        async def left(request: Request) -> Response:
            took = self.left.pop(request.path_params["request_id"], None)
            return JSONResponse({}, 404) if took is None else JSONResponse({"took": took})

        app = Router(
            routes=[
                Route("/health", health),
                Route("/v1/models", models),
                Route("/worker/left/{request_id}", left, methods=["POST"]),
                Route("/{path:path}", post, methods=["POST"]),
            ]
        )
        client = httpx.AsyncClient(transport=Streamed(app, lambda: self.fails), base_url="http://worker")
        self.worker = Worker(name, client, is_own=is_own)
        self.worker.up((Card(model, 100, f"fp_{name}"),))


class Routing:
    """A router in this process before workers of tests.

    Attributes:
        fleet: of the workers, all of one model `tiny`.
        client: of the router.
        log: its records.
        gate: its gate.
    """

    def __init__(self, *versions: Version, keys: Keys | None = None, fleet: Fleet | None = None) -> None:
        self.fleet = fleet or Fleet()
        for version in versions:
            self.fleet.add_version("tiny", version)
        self.log: list[dict[str, Any]] = []
        self.usage = UsageStore(None)
        self.gate = KeyedGate(keys, Admission(AdmissionConfig(), lambda: 0.0), self.usage)
        metrics = Metrics(dict, dict, self.gate)
        self.state = RouterState(self.fleet, self.gate, metrics)
        app = build_router(self.state, tell=self.log.append)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://router")

    async def complete(self, prompt: str = "hi", **more: Any) -> httpx.Response:
        """Ask for a completion."""
        return await self.client.post("/v1/completions", json={"prompt": prompt, "max_tokens": 5, **more})


def routed(*fakes: FakeWorker, **more: Any) -> Routing:
    """A router before some workers of one version."""
    return Routing(Version("", 100.0, [one.worker for one in fakes]), **more)
