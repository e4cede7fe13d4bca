"""The processes of workers: started, watched, started again, ended.

A worker reads its settings from the first line of stdin, and ends when stdin does, which is when the router
is gone. On stdout it says one line of JSON: {"url": …} when it takes requests, or {"problem", "hint",
"kind"} when it cannot.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import msgspec

from llmkit.errors import LlmkitError, ResourceError, as_told
from llmkit.server.router.adapters import FleetAdapters
from llmkit.server.router.probes import ProbeConfig, ask_cards, keep_probing
from llmkit.server.router.restarts import RestartConfig, Restarts
from llmkit.server.router.worker import Worker

_END_SECONDS = 3.0
_CARD_SECONDS = 10.0


@dataclass(frozen=True)
class Launch:
    """How a worker is started."""

    command: tuple[str, ...]
    settings: bytes
    """One line, for its stdin."""


class _Ready(msgspec.Struct):
    url: str | None = None
    problem: str | None = None
    hint: str = ""
    kind: str = ""


class Supervisor:
    """Keeps workers alive."""

    def __init__(
        self,
        restarts: RestartConfig | None = None,
        probes: ProbeConfig | None = None,
        clock: Callable[[], float] = time.monotonic,
        adapters: FleetAdapters | None = None,
    ) -> None:
        """
        Args:
            restarts: how patient it is with crashes.
            probes: how it finds out what hangs.
            clock: seconds.
            adapters: what workers are to have before they get a request.
        """
        self._adapters = FleetAdapters() if adapters is None else adapters
        self._restarts = restarts or RestartConfig()
        self._probes = probes or ProbeConfig()
        self._clock = clock
        self._processes: dict[Worker, asyncio.subprocess.Process] = {}
        self._tasks: dict[Worker, asyncio.Task[None]] = {}

    async def start(self, worker: Worker, launch: Launch) -> None:
        """Start a worker, and wait until it takes requests; from then on it is started again when it ends.

        Raises:
            LlmkitError: why it cannot serve, in its own words.
        """
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks[worker] = asyncio.create_task(self._keep(worker, launch, started))
        await started

    def watch(
        self, worker: Worker, changed: Callable[[Worker], None], probes: ProbeConfig | None = None
    ) -> None:
        """Probe a worker that is not a process of ours.

        Args:
            worker: a remote one.
            changed: told each time it has come up.
            probes: how often, and for how long; None: as others are.
        """
        probing = keep_probing(worker, probes or self._probes, changed=changed, hangs=worker.hangs.set)
        self._tasks[worker] = asyncio.create_task(probing)

    async def drain(self, worker: Worker, seconds: float) -> None:
        """Send nothing more to a worker, wait for what it has at hand, and end it.

        Args:
            worker: takes requests, or not.
            seconds: to wait at most.
        """
        if worker.state != "failed":
            worker.state = "draining"
        until = self._clock() + seconds
        while worker.running and self._clock() < until:
            await asyncio.sleep(0.02)
        await self.stop(worker)

    async def stop(self, worker: Worker, *, at_once: bool = False) -> None:
        """End a worker.

        Args:
            worker: whatever it is at.
            at_once: without letting it end by itself.
        """
        worker.state = "stopped"
        process = self._processes.pop(worker, None)
        task = self._tasks.pop(worker, None)
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill() if at_once else process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _END_SECONDS)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await worker.client.aclose()

    async def stop_all(self, *, at_once: bool = False) -> None:
        """End every worker."""
        await asyncio.gather(*(self.stop(worker, at_once=at_once) for worker in list(self._tasks)))

    async def _keep(self, worker: Worker, launch: Launch, started: "asyncio.Future[None]") -> None:
        restarts = Restarts(self._restarts)
        while True:
            try:
                await self._run(worker, launch, started)
            except LlmkitError as error:  # before it served for the first time
                worker.state = "failed"
                started.set_exception(error)
                return
            except OSError as error:
                if not started.done():
                    worker.state = "failed"
                    started.set_exception(_not_begun(error, worker.id))
                    return
                worker.ended(1)
                logging.getLogger("llmkit.serve").error("worker %s: %s", worker.id, error)
            if worker.state in ("draining", "stopped"):
                return
            delay = restarts.crashed(self._clock())
            if delay is None:
                worker.state = "failed"
                logging.getLogger("llmkit.serve").error(
                    "worker %s ended too often, and is given up", worker.id
                )
                return
            code = worker.exit_code
            logging.getLogger("llmkit.serve").warning(
                "worker %s ended with %s; again in %g s", worker.id, code, delay
            )
            await asyncio.sleep(delay)
            worker.restarts += 1

    async def _run(self, worker: Worker, launch: Launch, started: "asyncio.Future[None]") -> None:
        """One life of a worker.

        Raises:
            LlmkitError: it cannot serve, or not with its adapters, and never has.
            OSError: there is no process.
        """
        worker.state = "starting"
        worker.exited.clear()
        worker.failed_probes = 0
        process = await asyncio.create_subprocess_exec(
            *launch.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at a terminal is for the router
        )
        self._processes[worker] = process
        worker.pid = process.pid
        probing: asyncio.Task[None] | None = None
        try:
            ready = await _told(process, launch)
            if ready.url is not None:
                async with self._adapters.opening(worker, is_first=not started.done()):
                    with contextlib.suppress(httpx.TransportError, msgspec.DecodeError):
                        worker.up(await ask_cards(worker, _CARD_SECONDS))
                if not started.done():
                    started.set_result(None)
                probing = asyncio.create_task(
                    keep_probing(worker, self._probes, changed=lambda _: None, hangs=process.kill)
                )
            code = await process.wait()
            worker.ended(code)
        except (asyncio.CancelledError, LlmkitError):
            if process.returncode is None:
                process.kill()
            raise
        finally:
            if probing is not None:
                probing.cancel()
        if not started.done():
            raise _error_of(ready, worker.id, code)


async def _told(process: asyncio.subprocess.Process, launch: Launch) -> _Ready:
    """What a new worker says."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(ConnectionError):  # one that ends at once has said why before it read anything
        process.stdin.write(launch.settings + b"\n")
        await process.stdin.drain()
    try:
        return msgspec.json.decode(await process.stdout.readline(), type=_Ready)
    except (msgspec.DecodeError, ConnectionError):
        return _Ready()


def _not_begun(error: OSError, worker: str) -> LlmkitError:
    what = f"worker {worker} cannot be started: {(error.strerror or str(error)).lower()}"
    return ResourceError(what, hint="see what the machine has left: ulimit -a, free -h")


def _error_of(ready: _Ready, worker: str, code: int) -> LlmkitError:
    if ready.problem is None:
        return ResourceError(
            f"worker {worker} ended with {code} before it was ready", hint="its own words are above"
        )
    return as_told(ready.kind, ready.problem, ready.hint)
