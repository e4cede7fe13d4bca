"""A request sent to a worker, as far as the beginning of its answer: until then it can be sent elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

import httpx

from llmkit.server.ending import until
from llmkit.server.gate import Caller, Slot
from llmkit.server.handoff import SLOT_HEADER, pack_caller, read_slot
from llmkit.server.router.asked import UNWRITTEN, Asked
from llmkit.server.router.fleet import Group, Version
from llmkit.server.router.foreign import for_worker
from llmkit.server.router.relay import Relay
from llmkit.server.router.took import read_usage
from llmkit.server.router.worker import Lease, Worker

Reason = Literal["refused", "broken", "lost"]
_WITH_USAGE = ("/v1/completions", "/v1/chat/completions")
"""Whose streams tell the usage where that is asked for."""
SILENT_SECONDS = 5.0
"""Between two pieces of a stream: one that writes goes on, whether or not its worker has time for probes."""
_PASSED_ON = ("accept", "anthropic-version", "anthropic-beta")


class AttemptFailed(Exception):  # noqa: N818 (a state)
    """No answer came.

    Attributes:
        reason: nobody took the connection; it broke; or the worker is given up, as it answers no probe.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


@dataclass
class Job:
    """A request on its way."""

    path: str
    body: bytes
    headers: dict[str, str]
    """Those of the client that go on."""
    asked: Asked
    caller: Caller
    group: Group
    version: Version
    prefixes: tuple[bytes, ...]
    tokens: int
    """That it may come to, read and written."""
    slot: Slot = field(default_factory=Slot)
    tried: set[str] = field(default_factory=set)
    """Workers that it was with."""
    sent: float = 0.0
    """When the last of them got it, of a monotonic clock."""
    crashes: int = 0
    """Of them, those that crashed meanwhile."""

    @property
    def sticky(self) -> str:
        """What holds it to a version."""
        return f"{self.group.name}\0{self.caller.tenant}\0{self.asked.conversation}"


@dataclass
class Begun:
    """An answer whose beginning is here."""

    worker: Worker
    lease: Lease
    response: httpx.Response
    first: bytes
    """All of it, where it is no stream."""
    relay: Relay | None = None
    """Of a stream."""
    rest: AsyncIterator[bytes] | None = None

    def chunks(self) -> AsyncIterator[bytes]:
        """What comes of a stream after its beginning.

        Raises:
            AttemptFailed: nothing comes, and the worker answers nobody else either. A process of ours is
                ended then, which breaks its connections.
        """
        assert self.rest is not None
        if self.worker.is_own:
            return self.rest
        return until(self._hangs, self.rest, AttemptFailed("lost"))

    async def _hangs(self) -> None:
        await asyncio.sleep(SILENT_SECONDS)
        await self.worker.hangs.wait()

    async def close(self) -> None:
        """Nothing more is wanted of it; a worker that still writes ends before its next pass."""
        self.lease.close()
        await self.response.aclose()


def forwarded(headers: httpx.Headers) -> dict[str, str]:
    """The headers of an answer that go on to the client."""
    names = ("content-type", "retry-after", "retry-after-ms", "x-should-retry")
    return {name: headers[name] for name in names if name in headers}


async def attempt(job: Job, worker: Worker, lease: Lease, request_id: str) -> Begun:
    """Send a request, and wait until its answer begins; for all of one that is no stream.

    A stream of ours begins with its first token: what only opens it is held back until then.

    Raises:
        AttemptFailed: none came.
    """
    lost = worker.lost
    sending = asyncio.ensure_future(_first(job, worker, lease, request_id))
    losing = asyncio.ensure_future(lost.wait())
    try:
        await asyncio.wait((sending, losing), return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            raise AttemptFailed("lost")
        return sending.result()
    except asyncio.CancelledError:
        if sending.done() and not sending.cancelled() and sending.exception() is None:
            await sending.result().close()
        raise
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise AttemptFailed("refused") from None
    except (httpx.TransportError, httpx.StreamError, ValueError):
        raise AttemptFailed("broken") from None
    finally:
        losing.cancel()
        if not sending.done():  # else nothing is waited for, and an answer that is here cannot be lost
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _first(job: Job, worker: Worker, lease: Lease, request_id: str) -> Begun:
    hides_usage = not worker.is_ours and job.asked.stream and job.path in _WITH_USAGE
    options = job.asked.content.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        hides_usage = False
    headers = {name: job.headers[name] for name in _PASSED_ON if name in job.headers}
    headers |= {"content-type": "application/json", "accept-encoding": "identity", "x-request-id": request_id}
    if worker.is_ours:
        headers["authorization"] = f"Bearer {pack_caller(job.caller, worker.secret)}"
    body = _body(job, worker, asks_usage=hides_usage)
    request = worker.client.build_request("POST", job.path, content=body, headers=headers)
    response = await worker.client.send(request, stream=True)
    try:
        kind = response.headers.get("content-type", "")
        if response.status_code < 400 and kind.startswith("text/event-stream"):
            relay = Relay(job.path, job.slot, hides_usage=hides_usage)
            rest, told = response.aiter_bytes(), b""
            async for chunk in rest:
                told += relay.push(chunk)
                if told and not relay.is_opening:
                    return Begun(worker, lease, response, told, relay, rest)
            raise AttemptFailed("broken")
        whole = await response.aread()
        if response.status_code < 400:
            _read_took(response, whole, job)
        return Begun(worker, lease, response, whole)
    except BaseException:
        async with aclosing(response):
            raise


def _body(job: Job, worker: Worker, *, asks_usage: bool) -> bytes:
    """The body as it came, or with what a worker must be told too."""
    more = for_worker(worker, job.group.name, job.path, job.asked.content, job.caller)
    if not job.asked.model:
        more["model"] = job.group.name
    if asks_usage:
        options = job.asked.content.get("stream_options")
        more["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return job.asked.encoded(more) if more else job.body


def _read_took(response: httpx.Response, whole: bytes, job: Job) -> None:
    """What an answer took: as our worker says, or as the answer itself does."""
    if SLOT_HEADER in response.headers:
        read_slot(response.headers[SLOT_HEADER], job.slot)
        return
    read_usage(whole, job.slot)
    if job.path in UNWRITTEN:  # which have no word for how they ended
        job.slot.finished = "stop"
