"""The replicas of one version of a model, as a deployment of Ray Serve: started, changed, asked and ended."""

import asyncio
import contextlib
import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmkit.errors import LlmkitError, MissingError, ResourceError
from llmkit.server.adapters import AdapterSpec
from llmkit.server.errors import ApiError
from llmkit.server.router.crew import Reply
from llmkit.workflows.serve.ray_cluster import QUIET, import_ray
from llmkit.workflows.serve.ray_replica import RayReplica, adapters_told, read_problem
from llmkit.workflows.serve.worker import WorkerSettings, encode_settings

POLL_SECONDS = 0.2
_DEPLOYING = threading.Lock()
"""Ray Serve takes one deployment at a time from a process."""


@dataclass(frozen=True)
class Deployed:
    """What replicas are made of.

    Attributes:
        code: the same for as long as no replica has to be started anew.
    """

    settings: WorkerSettings
    adapters: tuple[AdapterSpec, ...]
    code: str


class RayCrew:
    """The replicas of a version of a model.

    Attributes:
        app: what Ray Serve calls it.
        url: of it.
        is_over: whether it was ended.
    """

    def __init__(self, app: str, url: str, secret: str, options: dict[str, Any]) -> None:
        """
        Args:
            app: what Ray Serve calls it.
            url: of Ray Serve's proxy.
            secret: that replicas ask for.
            options: of the deployment.
        """
        self.app = app
        self.url = f"{url}/{app}"
        self.is_over = False
        self._secret = secret
        self._options = options
        self._now: Deployed | None = None
        self._ends = threading.Event()

    async def start(self, settings: WorkerSettings, adapters: Sequence[AdapterSpec]) -> None:
        """Start them, and wait until they are well.

        Raises:
            LlmkitError: they are not.
        """
        await self._change(Deployed(settings, tuple(adapters), secrets.token_hex(8)))

    async def ask(self, method: str, path: str, content: bytes | None, *, seconds: float) -> list[Reply]:
        """What each replica that lives answers; at least one does.

        Raises:
            ApiError: 503: none answers, or not all that live do in time.
        """
        return await asyncio.to_thread(self._ask, method, path, content, seconds)

    async def keep(self, adapters: Sequence[AdapterSpec]) -> None:
        """Have these adapters, and no others, in each replica and in those that come later.

        Raises:
            ResourceError: one that lives cannot have them.
        """
        await self._change(replace(self._running, adapters=tuple(adapters)))

    async def replace(self, path: str | None, version: str | None) -> None:
        """Put other weights in the place of theirs: Ray replaces replicas one by one, each when the next is
        ready and its own requests have ended.

        Args:
            path: of the weights; None: the same place.
            version: their name; None: the same.

        Raises:
            MissingError: there is nothing at the path.
            LlmkitError: they cannot be served; the old replicas go on.
        """
        old = self._running.settings
        model = old.model if path is None else Path(path)
        if not model.exists():
            raise MissingError(f"{model}: no such model", hint="a folder, or a GGUF file")
        told = old.serve.version if version is None else version
        new = replace(old, model=model, serve=replace(old.serve, version=told))
        await self._change(replace(self._running, settings=new, code=secrets.token_hex(8)))

    def stop_waiting(self) -> None:
        """Nothing more is waited for: it is about to be ended."""
        self._ends.set()

    async def end(self) -> None:
        """End all replicas, when their requests have ended."""
        self.stop_waiting()
        self.is_over = True
        await asyncio.to_thread(self._end)

    @property
    def _running(self) -> Deployed:
        assert self._now is not None
        return self._now

    async def _change(self, wanted: Deployed) -> None:
        """Have Ray make it so; where it cannot, it is as it was."""
        try:
            await asyncio.to_thread(self._deploy, wanted)
        except LlmkitError:
            if self._now is not None:
                await asyncio.to_thread(self._deploy, self._now)
            raise
        self._now = wanted

    def _deploy(self, wanted: Deployed) -> None:
        """Start or change the deployment, and wait until its replicas are well.

        Raises:
            LlmkitError: they are not.
        """
        with _DEPLOYING:
            self._deploy_alone(wanted)

    def _deploy_alone(self, wanted: Deployed) -> None:
        _, serve = import_ray()
        settings = wanted.settings
        deployment = serve.deployment(
            serve.ingress()(RayReplica),
            name=settings.name,
            user_config=adapters_told(wanted.adapters),
            **self._options,
        )
        deployment._version = wanted.code  # else Ray starts all anew, whatever it is that changed
        application = deployment.bind(encode_settings(settings), self._secret)
        target = serve.RunTarget(application, self.app, f"/{self.app}", QUIET)
        serve.run_many([target], wait_for_applications_running=False)
        problem = None  # of one replica; Ray's last word may be that it has given up the others
        while (status := self._status()) != "RUNNING":
            problem = problem or self._problem()
            if status == "DEPLOY_FAILED":
                raise problem or self._why(settings)
            if self._ends.wait(POLL_SECONDS):
                raise ResourceError(
                    f"{self.app}: was ended before it ran", hint="ray status tells of its room"
                )

    def _status(self) -> str | None:
        """What Ray Serve says of it; None: nothing yet."""
        _, serve = import_ray()
        told = serve.status().applications.get(self.app)
        return None if told is None else told.status

    def _problem(self) -> LlmkitError | None:
        """What one of its replicas has said before it ended."""
        return next(filter(None, map(read_problem, _reports().get(self.app, []))), None)

    def _why(self, settings: WorkerSettings) -> LlmkitError:
        """Why its replicas do not start, as far as Ray knows."""
        reports = _reports().get(self.app, [])
        told = next((one.strip().splitlines()[-1] for one in reports if one.strip()), "no reason")
        return ResourceError(
            f"{settings.model}: Ray Serve's replicas do not start: {told}",
            hint="llmkit serve --dry-run, and Ray's own log in /tmp/ray/session_latest/logs/serve",
        )

    def _ask(self, method: str, path: str, content: bytes | None, seconds: float) -> list[Reply]:
        _, serve = import_ray()
        lost = ApiError(503, f"the replicas of {self.app} do not answer", code="worker_lost", retry_after=1.0)
        try:
            asked = serve.get_app_handle(self.app).broadcast("ask", method, path, content)
            answers = asked.results(timeout_s=seconds, return_exceptions=True)
        except Exception:  # Ray's own have no other class
            raise lost from None
        replies = [Reply(*one) for one in answers if not isinstance(one, Exception)]
        if not replies or any(isinstance(one, TimeoutError) for one in answers):
            raise lost
        return replies

    def _end(self) -> None:
        _, serve = import_ray()
        with _DEPLOYING, contextlib.suppress(Exception):  # Ray complains of its own end
            serve.delete(self.app)


def end_leftovers(model: str) -> None:
    """End what a router has left on the cluster that was itself ended without a word: nobody else has the
    secret that its replicas ask for."""
    _, serve = import_ray()
    for app in list(serve.status().applications):
        if re.fullmatch(rf"{re.escape(model)}:\d+", app):
            serve.delete(app)


def troubles() -> dict[str, str]:
    """What Ray says of deployments that are not as they should be, by application, in one line each."""
    found: dict[str, str] = {}
    for app, reports in _reports().items():
        for report in reports:
            problem = read_problem(report)
            found[app] = report.splitlines()[0] if problem is None else problem.problem
    return found


def _reports() -> dict[str, list[str]]:
    """All that Ray says of those that are not well, by application."""
    _, serve = import_ray()
    found: dict[str, list[str]] = {}
    with contextlib.suppress(Exception):  # it is about to end
        for app, told in serve.status().applications.items():
            deployments = told.deployments.values()
            found[app] = [one.message for one in deployments if one.message and one.status != "HEALTHY"]
    return found
