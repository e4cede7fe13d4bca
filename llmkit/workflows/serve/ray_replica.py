"""A replica under Ray Serve: the application of a model, in an actor that Ray starts, watches and ends.

Its replicas have no keys and no queue: they answer who says the secret of the router that stands before them.
"""

import contextlib
from typing import TYPE_CHECKING

from llmkit.workflows.serve.worker import read_settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


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
        from llmkit.server.handoff import WorkerGate
        from llmkit.workflows.serve.aids import open_aids
        from llmkit.workflows.serve.serve import open_serve_job, opened_app

        told = read_settings(settings)
        job = open_serve_job(told.model, told.tokenizer, told.engine)
        self._open = contextlib.AsyncExitStack()
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
    """The same, closed as Ray does it: it awaits this before it drops a replica."""

    async def __del__(self) -> None:
        """Called by Ray."""
        await self.close()


def at_root(app: "ASGIApp") -> "ASGIApp":
    """An application that sees its own paths, whatever stands before them where Ray has put it."""

    async def rooted(scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            scope = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        await app(scope, receive, send)

    return rooted
