"""llmkit serve --engine ray: each model a deployment of Ray Serve, on this machine or a cluster.

Ray starts the replicas, asks whether they are well, starts others in the place of those that are lost, adds
some as there is more to do, and replaces them one by one with other weights. Keys, quotas and the queue are
the router's, as before processes of our own.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmkit.errors import MissingError, ResourceError
from llmkit.server.router.config import RouterConfig
from llmkit.workflows.serve.ray_replica import RayReplica
from llmkit.workflows.serve.worker import WorkerSettings, encode_settings

HEALTH_SECONDS = 2.0
"""Between two questions to a replica."""
ONGOING = 8
"""Requests at a replica from which on another one is started, if there may be more."""


class RayServe:
    """The deployments of one router.

    Attributes:
        secret: that replicas ask for, as others can reach Ray's port.
    """

    def __init__(self, config: RouterConfig, drain_seconds: float) -> None:
        """
        Args:
            config: how many replicas.
            drain_seconds: that a replica has for its requests before it is ended.
        """
        self.secret = secrets.token_hex(16)
        self._config = config
        self._drain_seconds = drain_seconds
        self._running: dict[str, WorkerSettings] = {}
        self._port = 0
        self._is_ours = False

    async def start(self, settings: WorkerSettings) -> str:
        """Start the replicas of a model; the URL of their application.

        Raises:
            MissingError: there is no Ray.
            ResourceError: they do not start; why, Ray says.
        """
        return await asyncio.to_thread(self._start, settings)

    async def replace(self, name: str, path: str | None, version: str | None) -> None:
        """Put other weights in the place of a model's: Ray replaces replicas one by one, each when the next
        is ready and its own requests have ended.

        Args:
            name: of the model.
            path: of the weights; None: the same place.
            version: their name; None: the same.

        Raises:
            MissingError: there is nothing at the path.
            ResourceError: they cannot be served; the old replicas go on.
        """
        old = self._running[name]
        model = old.model if path is None else Path(path)
        if not model.exists():
            raise MissingError(f"{model}: no such model", hint="a folder, or a GGUF file")
        told = old.serve.version if version is None else version
        new = replace(old, model=model, serve=replace(old.serve, version=told))
        try:
            await asyncio.to_thread(self._deploy, new)
        except ResourceError:
            await asyncio.to_thread(self._deploy, old)
            raise

    async def close(self) -> None:
        """End all replicas, and Ray where it was started for them."""
        if self._running:
            await asyncio.to_thread(self._close)

    def _start(self, settings: WorkerSettings) -> str:
        if not self._running:
            self._join()
        self._deploy(settings)
        return f"http://127.0.0.1:{self._port}/{settings.name}"

    def _join(self) -> None:
        """Join the cluster of RAY_ADDRESS, or start one here without a dashboard; and Ray's proxy."""
        ray, serve = _import_ray()
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of this is told to anybody
        os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # a machine may be busy
        logging.getLogger("ray.serve").setLevel("ERROR")
        self._is_ours = "RAY_ADDRESS" not in os.environ
        most = self._config.max_replicas or self._config.replicas
        cores = max(os.cpu_count() or 1, 2 * most)  # a replica more for each while they are replaced
        here = {"num_cpus": cores, "include_dashboard": False} if self._is_ours else {"address": "auto"}
        try:
            ray.init(log_to_driver=False, logging_level="error", **here)
        except Exception as error:  # Ray's own have no other class
            told = str(error).strip().splitlines()
            raise ResourceError(
                f"Ray does not start: {told[0] if told else type(error).__name__}",
                hint="ray status; RAY_ADDRESS names a cluster that is running",
            ) from None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": "127.0.0.1", "port": self._port},
            logging_config=_QUIET,
        )

    def _deploy(self, settings: WorkerSettings) -> None:
        """Start or replace a deployment, and wait until its replicas are well.

        Raises:
            ResourceError: they are not.
        """
        _, serve = _import_ray()
        config = self._config
        count: dict[str, Any] = {"num_replicas": config.replicas}
        if config.max_replicas is not None:
            count = {
                "autoscaling_config": {
                    "min_replicas": config.replicas,
                    "max_replicas": config.max_replicas,
                    "target_ongoing_requests": settings.engine.batch or ONGOING,
                }
            }
        deployment = serve.deployment(
            serve.ingress()(RayReplica),
            name=settings.name,
            ray_actor_options={"num_cpus": 1},
            max_ongoing_requests=settings.serve.queue_requests,
            health_check_period_s=HEALTH_SECONDS,
            health_check_timeout_s=HEALTH_SECONDS * 5,
            graceful_shutdown_wait_loop_s=0.1,
            graceful_shutdown_timeout_s=self._drain_seconds,
            max_constructor_retry_count=2,
            logging_config=_QUIET,
            **count,
        )
        application = deployment.bind(encode_settings(settings), self.secret)
        try:
            serve.run(
                application, name=settings.name, route_prefix=f"/{settings.name}", logging_config=_QUIET
            )
        except RuntimeError as error:
            told = str(error).strip().splitlines()
            raise ResourceError(
                f"{settings.model}: Ray Serve's replicas do not start: {told[-1] if told else 'no reason'}",
                hint="llmkit serve --dry-run, and Ray's own log in /tmp/ray/session_latest/logs/serve",
            ) from None
        self._running[settings.name] = settings

    def _close(self) -> None:
        ray, serve = _import_ray()
        with contextlib.suppress(Exception):  # Ray complains of its own end
            for name in self._running:
                serve.delete(name)
            if self._is_ours:
                serve.shutdown()
        ray.shutdown()


_QUIET = {"log_level": "ERROR", "enable_access_log": False}


def _import_ray() -> Any:
    """Ray, and Ray Serve.

    Raises:
        MissingError: it is not installed.
    """
    try:
        import ray  # type: ignore[import-not-found, unused-ignore]
        from ray import serve
    except ImportError:
        raise MissingError("--engine ray needs Ray Serve", hint="pip install 'llmkit[ray]'") from None
    return ray, serve
