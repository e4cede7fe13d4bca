"""llmkit serve --replicas, --worker: a router before workers, each a process of ours or somebody's server."""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import uvicorn

from llmkit.engine.config import GenerateConfig
from llmkit.errors import MissingError, RemoteError, ResourceError
from llmkit.formats.key_file import read_key
from llmkit.machine import cores
from llmkit.server.admin import AdminState, OwnerGate, build_admin
from llmkit.server.config import ServeConfig
from llmkit.server.kept_responses import KeptResponses
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.listener import open_unix_socket
from llmkit.server.metrics import Metrics
from llmkit.server.router.adapters import FleetAdapters
from llmkit.server.router.app import build_router
from llmkit.server.router.config import ModelSource, RouterConfig
from llmkit.server.router.fleet import Fleet, Version
from llmkit.server.router.late_results import ignore_late_results
from llmkit.server.router.manage import Manager, Source
from llmkit.server.router.probes import ProbeConfig, probe
from llmkit.server.router.rollout import RollbackConfig
from llmkit.server.router.state import RouterState
from llmkit.server.router.supervisor import Launch, Supervisor
from llmkit.server.router.worker import Worker, remote_client
from llmkit.server.run import Ending, Run, http_server
from llmkit.workflows.generate.adapter import open_adapters
from llmkit.workflows.serve.adapters import specs_of
from llmkit.workflows.serve.front import Front, check_places, end_as, listening, open_front
from llmkit.workflows.serve.ray import RayServe
from llmkit.workflows.serve.reload import reading_keys_again
from llmkit.workflows.serve.worker import WorkerSettings, encode_settings, read_settings

_FIRST_PROBE_SECONDS = 5.0
_TRIES_AT_RAY = 2
_DOOR_SECONDS = 30.0
"""Within which Ray's proxy has heard of replicas that run."""
_RAY_PROBES = ProbeConfig(answer_seconds=15.0)
"""Ray asks the replicas itself: this is to know whether its proxy is there."""


@dataclass(frozen=True)
class Replicas:
    """What a router is to serve."""

    sources: tuple[ModelSource, ...]
    tokenizer: Path | None
    engine: GenerateConfig
    """Of each worker; without a number of threads they share the cores."""
    serve: ServeConfig
    router: RouterConfig


def serve_replicas(job: Replicas, *, note: Callable[[str], None]) -> None:
    """Serve until a signal says to end.

    Args:
        job: models and workers, and how to listen.
        note: told where the server is.

    Raises:
        ResourceError: the port is in use; a worker did not start.
        RemoteError: no URL of `--worker` answers, and there is no model of our own.
        LlmkitError: a model cannot be served, in its worker's words.
        KeyboardInterrupt: Ctrl-C.
        SystemExit: a second SIGTERM.
    """
    job.router.check_keys(job.serve.keys)
    check_places(job.serve, job.router.admin_socket)
    for source in job.sources:
        if not Path(source.path).exists():
            raise MissingError(f"{source.path}: no such model", hint="-m NAME=PATH@VERSION:WEIGHT")
    engines = max(1, len(job.sources) * job.router.replicas + len(job.router.workers))
    with open_front(job.serve, engines=engines) as front:
        if job.engine.batch is not None and isinstance(front.gate, KeyedGate):
            front.gate.admission.limit_long((job.engine.batch - 1) * engines)
        ending = asyncio.run(reading_keys_again(front, note, _serve(job, front, note)))
    end_as(ending)


def launch_of(job: Replicas, source: Source, socket: Path) -> Launch:
    """How a worker is started that is to listen on a socket."""
    own = sum(job.router.replicas for _ in job.sources) or 1
    threads = job.engine.threads or max(1, cores() // own)
    settings = WorkerSettings(
        model=Path(source.path),
        name=source.model,
        tokenizer=job.tokenizer,
        serve=replace(
            job.serve,
            host=ServeConfig.host,
            port=ServeConfig.port,
            unix_socket=socket,
            tls_certificate=None,
            tls_key=None,
            keys=None,
            usage=None,
            cors=(),
            log=None,
            log_prompts=False,
            version=source.version,
            behind_router=True,
        ),
        engine=replace(job.engine, threads=threads),
    )
    return Launch((sys.executable, "-P", "-m", "llmkit.workflows.serve.worker"), encode_settings(settings))


async def _serve(job: Replicas, front: Front, note: Callable[[str], None]) -> Ending:
    assert isinstance(front.gate, KeyedGate)
    ignore_late_results(asyncio.get_running_loop())
    gate = front.gate
    fleet = Fleet(RollbackConfig(margin=job.router.rollback_margin))
    adapters = FleetAdapters(specs_of(open_adapters(job.engine.adapters)))
    supervisor = Supervisor(adapters=adapters)
    metrics = Metrics(dict, lambda: _fingerprints(fleet), gate)
    kept = KeptResponses(job.serve.response_bytes, job.serve.response_seconds)
    state = RouterState(fleet, gate, metrics, adapters, kept, log_prompts=job.serve.log_prompts)
    app = build_router(state, tell=front.tell, origins=job.serve.cors, host=job.serve.listens_on)
    run = Run(app, state, front.listener, drain_seconds=job.serve.drain_seconds, tls=front.tls)
    ending: Ending = "killed"
    deployed = _ray_of(job)
    with _folder_of_sockets() as folder:
        manager = Manager(
            fleet,
            supervisor,
            lambda source, socket: launch_of(job, source, socket),
            folder,
            drain_seconds=job.serve.drain_seconds,
            adapters=adapters,
            deploy=None if deployed is None else partial(_deploy, job, deployed, supervisor, adapters),
        )
        try:
            await _open_own(job, fleet, manager)
            await _open_remote(job.router, fleet, supervisor)
            async with _admin(job, front, state, manager) as address:
                names = ", ".join(fleet.groups)
                ending = await run.until_signal(lambda: front.announce(names, note, **address))
                if deployed is not None:
                    deployed.stop_waiting()  # an admin's request that does so ends now
        finally:
            await supervisor.stop_all(at_once=ending != "drained")
            await manager.close()
            if deployed is not None:
                await deployed.close()
    return ending


@contextlib.contextmanager
def _folder_of_sockets() -> Iterator[Path]:
    """A folder of ours alone, gone at the end.

    Raises:
        ResourceError: no socket can be made in it: paths of sockets are short.
    """
    with tempfile.TemporaryDirectory(prefix="llmkit-") as told:
        folder = Path(told)
        try:
            open_unix_socket(folder / "00000.sock").close()
        except ResourceError as error:
            hint = "set TMPDIR to a folder whose path is short, as /tmp"
            raise ResourceError(error.problem, hint=hint) from None
        yield folder


async def _open_own(job: Replicas, fleet: Fleet, manager: Manager) -> None:
    """Start the workers of all versions together; Ray is started once, before the others ask for it."""
    sources = [_as_source(job, one) for one in job.sources]
    if job.router.engine == "ray":
        for source in sources:
            fleet.add_version(source.model, await manager.open_version(source))
        return
    opened = await asyncio.gather(*(manager.open_version(one) for one in sources), return_exceptions=True)
    for source, version in zip(sources, opened, strict=True):
        if isinstance(version, BaseException):
            raise version
        fleet.add_version(source.model, version)


def _ray_of(job: Replicas) -> RayServe | None:
    """Who keeps the replicas alive, where that is Ray."""
    if job.router.engine != "ray":
        return None
    return RayServe(
        job.router, job.serve.drain_seconds, versions=len(job.sources), threads=job.engine.threads
    )


async def _deploy(
    job: Replicas, deployed: RayServe, supervisor: Supervisor, adapters: FleetAdapters, source: Source
) -> Version:
    """Have Ray Serve start the replicas of a version.

    A deployment is one address, behind which Ray chooses a replica. It counts as two workers: a request whose
    replica is lost is tried once more there, and gets another.
    """
    settings = read_settings(launch_of(job, source, Path("unused")).settings)
    wanted = tuple(adapters.of(source.model).values())
    crew = await deployed.start(settings, source.replicas, wanted)
    workers = [
        Worker(
            f"{crew.app}/ray/{number}",
            remote_client(crew.url),
            version=source.version,
            model=source.model,
            is_own=False,
            secret=deployed.secret,
            crew=crew,
        )
        for number in range(_TRIES_AT_RAY)
    ]
    for worker in workers:
        supervisor.watch(worker, lambda _: None, _RAY_PROBES)
    await asyncio.gather(*(worker.is_up_within(_DOOR_SECONDS) for worker in workers))
    return Version(source.version, source.weight, workers, source.path)


def _as_source(job: Replicas, one: ModelSource) -> Source:
    return Source(
        model=one.name,
        path=one.path,
        version=one.version,
        weight=one.weight,
        replicas=job.router.replicas,
    )


async def _open_remote(config: RouterConfig, fleet: Fleet, supervisor: Supervisor) -> None:
    """Ask the servers at URLs what they have; those that do not answer are asked again and again."""
    key = None if config.worker_key is None else read_key(config.worker_key, "--worker-key")
    fleet.remote = [Worker(url, remote_client(url, key), is_own=False) for url in config.workers]
    await asyncio.gather(*(probe(worker, _FIRST_PROBE_SECONDS) for worker in fleet.remote))
    for worker in fleet.remote:
        fleet.learn(worker)
        supervisor.watch(worker, fleet.learn)
    if not fleet.groups:
        urls = ", ".join(config.workers)
        raise RemoteError(f"{urls}: no model there", hint="start the workers first, and see --worker-key")


@contextlib.asynccontextmanager
async def _admin(
    job: Replicas, front: Front, router: RouterState, manager: Manager
) -> AsyncIterator[dict[str, str]]:
    """The admin's listener, open; and where it is."""
    config = job.router
    if not config.has_admin:
        yield {}
        return
    gate = front.gate if config.admin_socket is None else OwnerGate()
    state = AdminState(router, manager, gate, job.serve.usage)
    with listening(job.serve.host, config.admin_port or 0, config.admin_socket) as listener:
        server = http_server(build_admin(state, tell=front.tell), front.tls)
        serving = asyncio.create_task(server.serve([listener]))
        try:
            await _started(server, serving)
            scheme = "https" if front.tls is not None else "http"
            port = None if config.admin_socket is not None else listener.getsockname()[1]
            where = f"unix:{config.admin_socket}" if port is None else f"{scheme}://{job.serve.host}:{port}"
            yield {"admin_url": where}
        finally:
            server.should_exit = True
            await serving


async def _started(server: uvicorn.Server, serving: "asyncio.Task[None]") -> None:
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)


def _fingerprints(fleet: Fleet) -> dict[str, str]:
    return {name: group.card.fingerprint or "" for name, group in fleet.groups.items()}
