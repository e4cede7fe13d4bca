"""One worker as the router sees it: whether it answers, and what it is busy with."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx

from llmkit.server.router.crew import Crew

WorkerState = Literal["starting", "up", "down", "draining", "failed", "stopped"]
FAILED_PROBES = 2
"""After so many in a row nothing more is sent to it."""
CONNECT_SECONDS = 3.0
KEEP_ALIVE_SECONDS = 30.0
"""Less than the workers', so that a connection is not closed as it is used."""


@dataclass(frozen=True)
class Card:
    """A model as a worker tells of it."""

    id: str
    context: int | None = None
    fingerprint: str | None = None
    told: dict[str, Any] = field(default_factory=dict, compare=False)
    """All that the worker says of it."""


@dataclass
class Lease:
    """A request's part in the load of a worker; counted until it is closed."""

    worker: "Worker"
    tokens: int
    then: Callable[[], None] | None = None
    """Called when it is over."""
    is_open: bool = True

    def close(self) -> None:
        """It is over."""
        if self.is_open:
            self.is_open = False
            if self.then is not None:
                self.then()
            self.worker.running -= 1
            self.worker.outstanding -= self.tokens


@dataclass(eq=False)
class Worker:
    """A worker: one of our own processes, or any server that speaks as OpenAI does."""

    id: str
    client: httpx.AsyncClient
    version: str = ""
    model: str = ""
    """That its process serves; of somebody else's server its cards tell."""
    is_own: bool = True
    """Whether the supervisor has its process; others only answer or do not."""
    secret: str = ""
    """Of one that is ours but was not started by the supervisor (Ray's): the word by which the router shows
    who it is."""
    crew: Crew | None = None
    """Of an address of several processes of ours: what all of them are told goes there."""
    state: WorkerState = "starting"
    cards: tuple[Card, ...] = ()
    """The models that it has."""
    running: int = 0
    """Requests with it."""
    outstanding: int = 0
    """Tokens of them, read and perhaps to be written."""
    last_taken: int = 0
    """When a request was last sent to it, counted in requests."""
    failed_probes: int = 0
    restarts: int = 0
    pid: int | None = None
    exit_code: int | None = None
    """Of its last process, as `subprocess` tells it: negative for a signal."""
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it goes out of use with requests under way; a new one each time it comes up."""
    exited: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its process has ended; a new one for each process."""
    hangs: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while it answers nothing for so long that a process of ours would be ended."""
    came_up: asyncio.Event = field(default_factory=asyncio.Event)
    one_suspect: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by a request under which it has crashed, so that there is only one of them at a time."""

    @property
    def takes_requests(self) -> bool:
        """Whether something may be sent to it."""
        return self.state == "up"

    @property
    def is_ours(self) -> bool:
        """Whether it speaks with a router as ours do."""
        return self.is_own or bool(self.secret)

    def up(self, cards: tuple[Card, ...]) -> None:
        """It answers."""
        self.cards = cards
        self.failed_probes = 0
        self.hangs.clear()
        if self.state in ("starting", "down"):
            self.state = "up"
            self.lost = asyncio.Event()
            self.came_up.set()

    def down(self) -> None:
        """It does not answer: nothing is sent to it until a probe goes well."""
        if self.state == "up":
            self.state = "down"
        self.came_up.clear()
        self.lost.set()

    def probe_failed(self) -> None:
        """Two in a row, and it is down."""
        self.failed_probes += 1
        if self.failed_probes >= FAILED_PROBES:
            self.down()

    def ended(self, exit_code: int) -> None:
        """Its process is over."""
        self.down()
        self.pid, self.exit_code = None, exit_code
        self.exited.set()

    def take(self, tokens: int, number: int) -> Lease:
        """Count a request as its own.

        Args:
            tokens: that it may take.
            number: of the request, in the order of all.
        """
        self.running += 1
        self.outstanding += tokens
        self.last_taken = number
        return Lease(self, tokens)

    async def take_again(self, tokens: int, number: Callable[[], int], seconds: float) -> Lease | None:
        """Count a request as its own under which it has crashed: when it is up again, and has no other such.

        Args:
            tokens: that it may take.
            number: of the request, once it is taken.
            seconds: to wait for others to be over, and as long again for it to be up.

        Returns:
            What also lets the next one in when it is closed; None: it was not to be had in that time.
        """
        try:
            async with asyncio.timeout(seconds):
                await self.one_suspect.acquire()
        except TimeoutError:
            return None
        lease = None
        try:
            if await self.is_up_within(seconds):
                lease = self.take(tokens, number())
                lease.then = self.one_suspect.release
            return lease
        finally:
            if lease is None:  # also where the client leaves while it waits
                self.one_suspect.release()

    async def is_up_within(self, seconds: float) -> bool:
        """Wait until it takes requests; False: it takes none after all that time."""
        try:
            async with asyncio.timeout(seconds):  # wait_for of Python 3.11 may swallow that we are cancelled
                await self.came_up.wait()
        except TimeoutError:
            return False
        return self.takes_requests

    async def crash_within(self, seconds: float) -> int | None:
        """The exit status of its process, which may be about to end; None: it lives, or is not our own."""
        if not self.is_own:
            return None
        if self.exited.is_set():
            return self.exit_code
        try:
            await asyncio.wait_for(self.exited.wait(), seconds)
        except TimeoutError:
            return None
        return self.exit_code


def is_own_fault(exit_code: int) -> bool:
    """Whether a process brought itself down, rather than somebody from outside."""
    return exit_code not in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)


def own_client(socket: Path) -> httpx.AsyncClient:
    """Speaks with a worker on a Unix socket."""
    transport = httpx.AsyncHTTPTransport(verify=False, uds=str(socket), limits=_limits())  # no TLS: no CAs
    return httpx.AsyncClient(transport=transport, base_url="http://worker", timeout=_timeout())


def remote_client(url: str, key: str | None = None) -> httpx.AsyncClient:
    """Speaks with a server at a URL, with or without `/v1` at its end.

    Args:
        url: of the server.
        key: that it asks for.
    """
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    base = url.rstrip("/").removesuffix("/v1")
    is_plain = base.lower().startswith("http://")  # reading certificates of authorities takes 70 ms
    transport = httpx.AsyncHTTPTransport(verify=not is_plain, limits=_limits())
    return httpx.AsyncClient(transport=transport, base_url=base, headers=headers, timeout=_timeout())


def _limits() -> httpx.Limits:
    return httpx.Limits(
        max_connections=None, max_keepalive_connections=64, keepalive_expiry=KEEP_ALIVE_SECONDS
    )


def _timeout() -> httpx.Timeout:
    """Long answers take long; whether a worker lives is asked beside them."""
    return httpx.Timeout(None, connect=CONNECT_SECONDS)
