"""Changes to what a router serves, while it serves: versions added, weighed, replaced and taken away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from llmkit.errors import LlmkitError
from llmkit.server.adapters import AdapterSpec
from llmkit.server.errors import ApiError, as_api_error, refused
from llmkit.server.router.adapters import FleetAdapters
from llmkit.server.router.crew import Crew
from llmkit.server.router.fleet import Fleet, Group, Version
from llmkit.server.router.probes import ask_cards
from llmkit.server.router.rollout import checked_weights
from llmkit.server.router.supervisor import Launch, Supervisor
from llmkit.server.router.worker import Worker, own_client
from llmkit.server.wire.admin import MOST_REPLICAS

_CARD_SECONDS = 10.0
Deploy = Callable[["Source"], Awaitable[Version]]
"""Has somebody else start the processes of a version, and keep them alive; raises LlmkitError."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a version is made of."""

    model: str
    """What clients call it."""
    path: str
    version: str
    weight: float
    replicas: int


class Manager:
    """Starts and ends the workers of versions."""

    def __init__(
        self,
        fleet: Fleet,
        supervisor: Supervisor,
        launch: Callable[[Source, Path], Launch],
        folder: Path,
        *,
        drain_seconds: float,
        adapters: FleetAdapters | None = None,
        deploy: Deploy | None = None,
    ) -> None:
        """
        Args:
            fleet: is told of them.
            supervisor: keeps them alive.
            launch: how a worker of a version is started that is to listen on a socket.
            folder: for the sockets; nobody else can look into it.
            drain_seconds: that a worker has for its running requests before it is ended.
            adapters: what workers have beside their model; the supervisor gives it to those that come up.
            deploy: starts versions that somebody else keeps alive for us; None: nobody does.
        """
        self._deploy = deploy
        self.adapters = FleetAdapters() if adapters is None else adapters
        self._fleet = fleet
        self._supervisor = supervisor
        self._launch = launch
        self._folder = folder
        self._drain_seconds = drain_seconds
        self._numbers = count()
        self._changing = asyncio.Lock()
        self._draining: set[asyncio.Task[None]] = set()

    async def open_version(self, source: Source) -> Version:
        """Start the workers of a version; nobody is sent there yet.

        Raises:
            LlmkitError: one of them cannot serve; none is left.
        """
        if self._deploy is not None:
            return await self._deploy(source)
        version = Version(source.version, source.weight, path=source.path)
        starts = []
        for _ in range(source.replicas):
            number = next(self._numbers)
            socket = self._folder / f"{number}.sock"
            label = f"{source.model}@{source.version}" if source.version else source.model
            worker = Worker(
                f"{label}/{number}", own_client(socket), version=source.version, model=source.model
            )
            version.workers.append(worker)
            starts.append(self._supervisor.start(worker, self._launch(source, socket)))
        results = await asyncio.gather(*starts, return_exceptions=True)
        failures = [one for one in results if isinstance(one, BaseException)]
        if failures:
            await asyncio.gather(*(self._supervisor.stop(worker) for worker in version.workers))
            raise failures[0]
        return version

    async def add(self, source: Source) -> Version:
        """Start a version and let it be asked for.

        Raises:
            ApiError: 400: it cannot be; 409: there is one of this name.
        """
        if not 1 <= source.replicas <= MOST_REPLICAS:
            raise refused("replicas", f"from 1 to {MOST_REPLICAS} (found {source.replicas})")
        if not source.weight >= 0:
            raise refused("weight", f"at least 0 (found {source.weight})")
        if not source.model or ":" in source.model:
            raise refused("name", "a name without a colon")
        async with self._changing:
            group = self._fleet.groups.get(source.model)
            if group is not None and source.version in group.versions:
                problem = f"version: there is a {source.version!r} of {source.model!r}; reload replaces it"
                raise ApiError(409, problem, code="version_exists", param="version")
            version = await self._open(source)
            self._fleet.add_version(source.model, version)
            return version

    async def reload(self, name: str, path: str | None, version_name: str | None) -> Version:
        """Put a new version in the place of the main one: started, then asked; the old one drained.

        Args:
            name: of the model.
            path: of the new weights; None: the same place as before.
            version_name: of the new version; None: the same as before.

        Raises:
            ApiError: 400, 404 or 409: it cannot be; all is as it was.
        """
        async with self._changing:
            group = self.group(name)
            old = group.main
            if old.path is None:
                raise refused("name", f"the workers of {name!r} are somebody else's")
            wanted = old.name if version_name is None else version_name
            if wanted != old.name and wanted in group.versions:
                raise ApiError(409, f"version: there is a {wanted!r}", code="version_exists", param="version")
            if old.crew is not None:
                await self._replace(group, old, old.crew, path or old.path, wanted)
                return old
            source = Source(
                model=name,
                path=path or old.path,
                version=wanted,
                weight=old.weight,
                replicas=len(old.workers),
            )
            new = await self._open(source)
            new.weight = old.weight  # another one, where it was weighed or taken back meanwhile
            # in its place: who fails too often is compared with those before it
            versions = [new if one is old else one for one in group.versions.values()]
            group.versions = {one.name: one for one in versions}
            self._retire(old)
            logging.getLogger("llmkit.serve").info("%s: %s took the place of %s", name, new.name, old.name)
            return new

    def weigh(self, name: str, told: dict[str, float]) -> None:
        """Split conversations between versions.

        Raises:
            ApiError: 404: no such model; 400: no such version, or weights that cannot be.
        """
        group = self.group(name)
        for version_name, weight in checked_weights(told, group.versions).items():
            group.versions[version_name].weight = weight
            group.versions[version_name].rolled_back = False

    async def remove(self, name: str, version_name: str) -> None:
        """Take a version away: no new requests, the running ones finished, its workers ended.

        Raises:
            ApiError: 404: there is none; 400: it is the last one with a weight.
        """
        async with self._changing:
            group = self.group(name)
            version = group.versions.get(version_name)
            if version is None:
                raise ApiError(404, f"version: there is no {version_name!r}", param="version")
            others = [one for one in group.versions.values() if one is not version]
            if not any(one.weight > 0 for one in others):
                raise refused("version", f"{version_name!r} is the last one with a weight")
            group.versions = {one.name: one for one in others}
            self._retire(version)

    async def load_adapter(self, name: str, spec: AdapterSpec, *, replace: bool) -> dict[str, Any]:
        """Load an adapter into all workers of a model; see `FleetAdapters.load`."""
        async with self._changing:
            return await self.adapters.load(self.group(name), spec, replace=replace)

    async def unload_adapter(self, name: str, adapter: str, *, wait_seconds: float) -> dict[str, Any]:
        """Unload one from all of them; see `FleetAdapters.unload`. Versions come and go while it waits."""
        group = self.group(name)
        return await self.adapters.unload(group, adapter, wait_seconds=wait_seconds, exclusive=self._changing)

    @property
    def models(self) -> list[str]:
        """Names of all."""
        return list(self._fleet.groups)

    def group(self, name: str) -> Group:
        """The model of a name.

        Raises:
            ApiError: 404: there is none.
        """
        group = self._fleet.groups.get(name)
        if group is None:
            raise ApiError(404, f"there is no model {name!r}", code="model_not_found", param="name")
        return group

    async def close(self) -> None:
        """Wait for what is being drained."""
        await asyncio.gather(*self._draining, return_exceptions=True)

    async def _open(self, source: Source) -> Version:
        try:
            return await self.open_version(source)
        except LlmkitError as error:
            raise as_api_error(error, "path") from None

    async def _replace(self, group: Group, version: Version, crew: Crew, path: str, wanted: str) -> None:
        """Have a crew put other weights in the place of its own.

        Raises:
            ApiError: 400: they cannot be served; all is as it was.
        """
        try:
            await crew.replace(path, wanted)
        except LlmkitError as error:
            raise as_api_error(error, "path") from None
        group.versions = {wanted if one is version else key: one for key, one in group.versions.items()}
        version.name, version.path = wanted, path
        for worker in version.workers:
            worker.version = wanted
            worker.cards = await ask_cards(worker, _CARD_SECONDS)

    def _retire(self, version: Version) -> None:
        """Drain the workers of a version, and end who keeps them alive for us, in the background."""

        async def retire() -> None:
            drains = [self._supervisor.drain(worker, self._drain_seconds) for worker in version.workers]
            await asyncio.gather(*drains)
            if version.crew is not None:
                await version.crew.end()

        if version.path is not None:
            task = asyncio.create_task(retire())
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)
