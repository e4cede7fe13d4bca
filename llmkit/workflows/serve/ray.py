"""llmkit serve --engine ray: each version of a model a deployment of Ray Serve, here or on a cluster.

Ray starts the replicas, asks whether they are well, starts others in the place of those that are lost, adds
some as there is more to do, and replaces them one by one with other weights. Keys, quotas and the queue are
the router's, as before processes of our own.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from llmkit.server.adapters import AdapterSpec
from llmkit.server.router.config import RouterConfig
from llmkit.workflows.serve.ray_cluster import (
    QUIET,
    Cluster,
    Share,
    join_cluster,
    leave_cluster,
    share_of,
)
from llmkit.workflows.serve.ray_crew import RayCrew, end_leftovers, troubles
from llmkit.workflows.serve.worker import WorkerSettings

HEALTH_SECONDS = 2.0
"""Between two questions to a replica."""
ONGOING = 8
"""Requests at a replica from which on another one is started, if there may be more."""
NOTE_SECONDS = 5.0
"""Between two looks at what Ray says of its trouble."""


class RayServe:
    """The deployments of one router.

    Attributes:
        secret: that replicas ask for, as others can reach Ray's port.
    """

    def __init__(
        self,
        config: RouterConfig,
        drain_seconds: float,
        *,
        versions: int = 1,
        threads: int | None = None,
    ) -> None:
        """
        Args:
            config: how many replicas.
            drain_seconds: that a replica has for its requests before it is ended.
            versions: of models, which share the cluster.
            threads: cores that each replica has; None: its share of a node.
        """
        self.secret = secrets.token_hex(16)
        self._config = config
        self._drain_seconds = drain_seconds
        self._most = versions * (config.max_replicas or config.replicas)
        self._threads = threads
        self._cluster: Cluster | None = None
        self._crews: dict[str, RayCrew] = {}
        self._names: set[str] = set()
        self._watching: asyncio.Task[None] | None = None

    async def start(
        self, settings: WorkerSettings, replicas: int, adapters: Sequence[AdapterSpec] = ()
    ) -> RayCrew:
        """Start the replicas of a version of a model.

        Args:
            settings: of each.
            replicas: how many.
            adapters: that they have, and no others.

        Raises:
            MissingError: there is no Ray.
            ResourceError: they do not start; why, Ray says.
            LlmkitError: one of them cannot serve, in its own words.
        """
        if self._cluster is None:
            self._cluster = await asyncio.to_thread(join_cluster)
            self._watching = asyncio.create_task(self._watch())
        engine = settings.engine
        share = share_of(self._cluster.nodes, self._most, engine.device, engine.tp)
        if not self._cluster.is_ours:
            threads = self._threads or share.threads
            settings = replace(settings, engine=replace(engine, threads=threads))
        options = self._options(settings, replicas, share)
        if not self._cluster.is_ours and settings.name not in self._names:
            await asyncio.to_thread(end_leftovers, settings.name)
        self._names.add(settings.name)
        crew = RayCrew(self._app_of(settings.name), self._cluster.url, self.secret, options)
        self._crews[crew.app] = crew
        try:
            await crew.start(settings, adapters)
        except BaseException:
            await crew.end()
            del self._crews[crew.app]
            raise
        return crew

    def stop_waiting(self) -> None:
        """Wait for no replica any more: all are about to be ended."""
        for crew in self._crews.values():
            crew.stop_waiting()

    async def close(self) -> None:
        """End all replicas, and Ray where it was started for them."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self.stop_waiting()
        for crew in self._crews.values():
            if not crew.is_over:
                await crew.end()
        if self._cluster is not None:
            with contextlib.suppress(Exception):  # Ray complains of its own end
                await asyncio.to_thread(leave_cluster, self._cluster)

    def _options(self, settings: WorkerSettings, replicas: int, share: Share) -> dict[str, Any]:
        """Of a deployment, in Ray Serve's words."""
        config = self._config
        number: dict[str, Any] = {"num_replicas": replicas}
        if config.max_replicas is not None:
            number = {
                "autoscaling_config": {
                    "min_replicas": min(replicas, config.max_replicas),
                    "max_replicas": config.max_replicas,
                    "target_ongoing_requests": settings.engine.batch or ONGOING,
                }
            }
        is_ours = self._cluster is not None and self._cluster.is_ours
        return {
            "ray_actor_options": {
                "num_cpus": 0 if is_ours else self._threads or 1,  # here nobody else counts
                "num_gpus": share.gpus,
            },
            "max_ongoing_requests": settings.serve.queue_requests,
            "health_check_period_s": HEALTH_SECONDS,
            "health_check_timeout_s": HEALTH_SECONDS * 5,
            "graceful_shutdown_wait_loop_s": 0.1,
            "graceful_shutdown_timeout_s": self._drain_seconds,
            "max_constructor_retry_count": 2,
            "logging_config": QUIET,
            **number,
        }

    def _app_of(self, name: str) -> str:
        """What a version's application is called; versions come and change their names."""
        taken = {crew.app for crew in self._crews.values() if not crew.is_over}
        return next(one for number in count(1) if (one := f"{name}:{number}") not in taken)

    async def _watch(self) -> None:
        """Say what Ray has trouble with: replicas that do not start, or for which there is no room."""
        told: dict[str, str] = {}
        while True:
            await asyncio.sleep(NOTE_SECONDS)
            for app, message in (await asyncio.to_thread(troubles)).items():
                if app in self._crews and message != told.get(app):
                    told[app] = message
                    logging.getLogger("llmkit.serve").warning("%s: %s", app, message)
