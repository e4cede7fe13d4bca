"""A replica under Ray Serve: the application of a model, in an actor that Ray starts, watches and ends.

Its replicas have no keys and no queue: they answer who says the secret of the router that stands before them.
"""

import contextlib
import os
import re
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from llmkit.errors import ConfigError, LlmkitError, MissingError, as_told, told
from llmkit.server.adapters import AdapterSpec
from llmkit.server.errors import ApiError
from llmkit.workflows.serve.worker import read_settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from llmkit.server.served import Served

_PROBLEM = "llmkit cannot serve: "
_SETTLE_SECONDS = 1.0
"""That requests with an adapter that goes have to end, before this is told to be done."""


class Replica:
    """What Ray Serve makes a deployment of; the names of its methods are Ray's."""

    async def __init__(self, settings: bytes, secret: str) -> None:  # type: ignore[misc]
        """Read the weights; Ray sends requests when that is done.

        Args:
            settings: a worker's, as a line.
            secret: that the router says with each request.

        Raises:
            LlmkitError: the model cannot be served.
        """
        from llmkit.server.gate import Caller
        from llmkit.server.handoff import WorkerGate, pack_caller
        from llmkit.workflows.serve.aids import open_aids
        from llmkit.workflows.serve.serve import open_serve_job, opened_app

        self._open = contextlib.AsyncExitStack()
        self._who = f"{socket.gethostname()}/{os.getpid()}"
        self._word = f"Bearer {pack_caller(Caller(), secret)}"
        told = read_settings(settings)
        job = open_serve_job(told.model, told.tokenizer, told.engine)
        opened = opened_app(
            job,
            told.serve,
            WorkerGate(secret),
            self._open.enter_context(open_aids(told.serve)),
            name=told.name,
            note=lambda _: None,
            tell=lambda _: None,
            behind_router=True,
        )
        self._app, self._state = await self._open.enter_async_context(opened)

    def __serve_build_asgi_app__(self) -> "ASGIApp":
        """The application that answers."""
        return at_root(self._app)

    async def reconfigure(self, told: dict[str, Any]) -> None:
        """Called by Ray with what the router wants, before the first request and after each change.

        Args:
            told: adapters, see `adapters_told`.

        Raises:
            ApiError: it cannot have one of them.
        """
        (served,) = self._state.models.all()
        await have_adapters(served, msgspec.convert(told["adapters"], tuple[AdapterSpec, ...]))

    async def ask(self, method: str, path: str, content: bytes | None) -> tuple[str, int, bytes]:
        """What it answers the router, who asks every replica by Ray: who it is, a status, a body."""
        import httpx

        head = {"authorization": self._word, "content-type": "application/json"}
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://replica", headers=head) as client:
            answer = await client.request(method, path, content=content, timeout=None)
        return self._who, answer.status_code, answer.content

    def check_health(self) -> None:
        """Asked by Ray again and again; a replica that fails is ended, and another one started.

        Raises:
            RuntimeError: the engine is over, or does not come to an end with a pass.
        """
        from llmkit.server.health import ailing

        if (problem := ailing(self._state)) is not None:
            raise RuntimeError(problem["status"])

    async def close(self) -> None:
        """End the engine; running requests have ended."""
        await self._open.aclose()


class RayReplica(Replica):
    """The same, opened and closed as Ray does it."""

    async def __init__(self, settings: bytes, secret: str) -> None:  # type: ignore[misc]
        """See `Replica`. What is wrong is told in a line that the router finds in Ray's report.

        Raises:
            RuntimeError: the model cannot be served.
        """
        try:
            await super().__init__(settings, secret)
        except LlmkitError as error:
            raise RuntimeError(problem_line(error, socket.gethostname())) from None

    async def reconfigure(self, told: dict[str, Any]) -> None:
        """See `Replica`.

        Raises:
            RuntimeError: it cannot have one of the adapters.
        """
        try:
            await super().reconfigure(told)
        except ApiError as refused:
            error = ConfigError(refused.message, hint="unload the adapter, or mend it")
            raise RuntimeError(problem_line(error, socket.gethostname())) from None

    async def __del__(self) -> None:
        """Called by Ray."""
        await self.close()


def adapters_told(adapters: Sequence[AdapterSpec]) -> dict[str, Any]:
    """Adapters as Ray passes them on."""
    return {"adapters": msgspec.to_builtins(list(adapters))}


async def have_adapters(served: "Served", wanted: Sequence[AdapterSpec]) -> None:
    """Load and unload until a model has these adapters.

    Raises:
        ApiError: one of them cannot be loaded.
    """
    there = {spec.name: spec for spec, _ in served.adapters.all()}
    for spec in wanted:
        if there.get(spec.name) != spec:
            await served.adapters.load(spec, replace=True)
    for name in there.keys() - {spec.name for spec in wanted}:
        await served.adapters.unload(name, wait_seconds=_SETTLE_SECONDS)


def problem_line(error: LlmkitError, node: str) -> str:
    """Why a replica on a node cannot serve, as one line."""
    return f"{_PROBLEM}{msgspec.json.encode({**told(error), 'node': node}).decode()}"


def read_problem(report: str) -> LlmkitError | None:
    """Why, out of what Ray makes of it; None: it says nothing of ours."""
    found = re.search(rf"{_PROBLEM}(\{{.*\}})", report)
    if found is None:
        return None
    said = msgspec.json.decode(found[1], type=dict[str, str])
    problem, hint = f"{said['problem']} (on the node {said['node']})", said["hint"]
    if said["kind"] == MissingError.__name__:
        hint = "every node reads it at the same path: copy it there, or keep it where all can read it"
    return as_told(said["kind"], problem, hint)


def at_root(app: "ASGIApp") -> "ASGIApp":
    """An application that sees its own paths, whatever stands before them where Ray has put it."""

    async def rooted(scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            scope = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        await app(scope, receive, send)

    return rooted
