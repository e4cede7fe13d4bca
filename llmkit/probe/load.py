"""Load on a server: requests sent as clients would, and what came of each.

Two ways to send them. So many at once: the next begins when one ends, as with workers that wait for answers;
the server sets the pace. So many a second, at random (a Poisson process): as with people, who do not wait for
each other; where the server is too slow the queue grows, and it shows in the times.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

Clock = Callable[[], float]
MOST_SAID = 300
"""Letters of a server's message."""


@dataclass(frozen=True)
class Shot:
    """A request to send."""

    kind: str
    """What its figures are counted under, such as `short`."""
    path: str
    """`/v1/completions` or `/v1/chat/completions`."""
    body: dict[str, Any]


@dataclass
class Outcome:
    """What came of a request. Times are in seconds."""

    kind: str
    sent: float = 0.0
    """Since the load began."""
    seconds: float = 0.0
    """Until its end."""
    first_token_seconds: float | None = None
    """Until its first text; None where the answer came in one piece."""
    gaps: list[float] = field(default_factory=list)
    """Between two of its texts."""
    prompt_tokens: int = 0
    """As the server counts, like the two that follow."""
    cached_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None
    """What went wrong, in a word or two that can be counted; None: nothing."""
    said: str | None = None
    """What the server said of it."""


def arrivals(rate: float, seed: int) -> Iterator[float]:
    """Times at which requests come, in seconds since the start, `rate` a second on average, without end."""
    generator = random.Random(seed)
    now = 0.0
    while True:
        yield now
        now += generator.expovariate(rate)


async def at_once(
    shots: Iterator[Shot],
    send: Callable[[Shot], Awaitable[Outcome]],
    *,
    concurrency: int,
    seconds: float | None,
    clock: Clock = time.perf_counter,
) -> AsyncIterator[Outcome]:
    """Send requests, so many at once, until there are no more or the time is over; those under way end.

    Args:
        shots: what to send, in order.
        send: sends one.
        concurrency: under way at any time.
        seconds: after which none begins; None: no limit.
    """
    began = clock()
    done: asyncio.Queue[Outcome | BaseException | None] = asyncio.Queue()

    async def worker() -> None:
        try:
            for shot in shots:
                sent = clock() - began
                if seconds is not None and sent >= seconds:
                    break
                outcome = await send(shot)
                outcome.sent = sent
                done.put_nowait(outcome)
            done.put_nowait(None)
        except Exception as error:  # raised below, where somebody listens
            done.put_nowait(error)

    async for outcome in _until_all_end([asyncio.create_task(worker()) for _ in range(concurrency)], done):
        yield outcome


async def at_rate(
    shots: Iterator[Shot],
    send: Callable[[Shot], Awaitable[Outcome]],
    times: Iterator[float],
    *,
    seconds: float | None,
    clock: Clock = time.perf_counter,
) -> AsyncIterator[Outcome]:
    """Send each request at its time, whatever became of those before it.

    Args:
        shots: what to send, in order.
        send: sends one.
        times: when, in seconds since the start; see `arrivals`.
        seconds: after which none begins; None: no limit.
    """
    began = clock()
    done: asyncio.Queue[Outcome | BaseException | None] = asyncio.Queue()
    tasks: set[asyncio.Task[None]] = set()

    async def one(shot: Shot, due: float) -> None:
        try:
            outcome = await send(shot)
            outcome.sent = due
            done.put_nowait(outcome)
        except Exception as error:
            done.put_nowait(error)

    async def sender() -> None:
        for shot, due in zip(shots, times, strict=False):
            if seconds is not None and due >= seconds:
                break
            await asyncio.sleep(max(0.0, began + due - clock()))
            task = asyncio.create_task(one(shot, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        while tasks:
            await asyncio.wait(tasks)
        done.put_nowait(None)

    async for outcome in _until_all_end([asyncio.create_task(sender())], done):
        yield outcome


async def _until_all_end(
    tasks: Sequence["asyncio.Task[None]"], done: "asyncio.Queue[Outcome | BaseException | None]"
) -> AsyncIterator[Outcome]:
    """Outcomes as they come in; each task says None when it is over."""
    left = len(tasks)
    try:
        while left:
            item = await done.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()


def open_client(url: str, *, api_key: str | None = None, seconds: float = 600.0) -> httpx.AsyncClient:
    """A client of a server that keeps as many connections as there are requests under way."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    socket = url.removeprefix("unix:") if url.startswith("unix:") else None
    transport = httpx.AsyncHTTPTransport(uds=socket, limits=limits)
    base = "http://server" if socket is not None else url.rstrip("/").removesuffix("/v1")
    head = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
    return httpx.AsyncClient(
        transport=transport, base_url=base, headers=head, timeout=httpx.Timeout(seconds, connect=10.0)
    )


async def send_shot(client: httpx.AsyncClient, shot: Shot, clock: Clock = time.perf_counter) -> Outcome:
    """Send a request and follow its answer; what goes wrong is in the outcome."""
    outcome = Outcome(shot.kind)
    began = clock()
    try:
        async with client.stream("POST", shot.path, json=shot.body) as answer:
            if answer.status_code != 200:
                outcome.error, outcome.said = str(answer.status_code), server_said(await answer.aread())
            elif answer.headers.get("content-type", "").startswith("text/event-stream"):
                await _follow(answer, outcome, began, clock)
            else:
                _count(json.loads(await answer.aread()), outcome)
    except (httpx.HTTPError, ValueError) as error:
        outcome.error = type(error).__name__
    outcome.seconds = clock() - began
    return outcome


def server_said(body: bytes) -> str | None:
    """The message of an answer that is an error, one line of it; None where there is none.

    Servers say `{"error": {"message"}}`, as OpenAI does, `{"error"}`, `{"message"}` or `{"detail"}`.
    """
    try:
        told = json.loads(body)
    except ValueError:
        return None
    for name in ("error", "message", "detail"):
        if not isinstance(told, dict):
            break
        told = told.get(name) or told
    if not isinstance(told, str):
        return None
    printable = "".join(letter if letter.isprintable() else " " for letter in told)
    return " ".join(printable.split())[:MOST_SAID] or None


async def _follow(answer: httpx.Response, outcome: Outcome, began: float, clock: Clock) -> None:
    """Read a stream to its last word; one that only ends is an error, though the text looks complete."""
    last = None
    async for line in answer.aiter_lines():
        if not line.startswith("data:"):
            continue
        content = line[5:].strip()
        if content == "[DONE]":
            return
        told = json.loads(content)
        if told.get("error"):
            outcome.error, outcome.said = "error event", server_said(content.encode())
            return
        _count(told, outcome)
        if any(_says(choice) for choice in told.get("choices") or ()):
            now = clock()
            if last is None:
                outcome.first_token_seconds = now - began
            else:
                outcome.gaps.append(now - last)
            last = now
    outcome.error = "cut short"


def _says(choice: dict[str, Any]) -> bool:
    """Whether an event has text, of whatever kind."""
    delta = choice.get("delta") or {}
    return bool(choice.get("text") or any(delta.get(key) for key in delta if key != "role"))


def _count(told: dict[str, Any], outcome: Outcome) -> None:
    usage = told.get("usage") or {}
    outcome.prompt_tokens = usage.get("prompt_tokens", outcome.prompt_tokens)
    outcome.completion_tokens = usage.get("completion_tokens", outcome.completion_tokens)
    details = usage.get("prompt_tokens_details") or {}
    outcome.cached_tokens = details.get("cached_tokens") or outcome.cached_tokens
