"""What the router itself asks: a worker, which may be a crew, or every process that there is."""

import asyncio
from collections.abc import Iterable

import httpx

from llmkit.server.errors import ApiError
from llmkit.server.router.crew import Reply
from llmkit.server.router.probes import headers_of
from llmkit.server.router.worker import Worker


async def ask_worker(
    worker: Worker, method: str, path: str, content: bytes | None = None, *, seconds: float
) -> list[Reply]:
    """What a worker answers: one reply, or of a crew one of each process.

    Args:
        worker: who is asked.
        method: of HTTP.
        path: what.
        content: a body of JSON; None: there is none.
        seconds: to wait at most.

    Raises:
        ApiError: 503: it does not answer.
    """
    if worker.crew is not None:
        return await worker.crew.ask(method, path, content, seconds=seconds)
    headers = {**headers_of(worker), "content-type": "application/json"}
    try:
        answer = await worker.client.request(method, path, content=content, timeout=seconds, headers=headers)
    except httpx.TransportError:
        raise no_answer(worker) from None
    return [Reply(worker.id, answer.status_code, answer.content)]


async def ask_all(workers: Iterable[Worker], path: str, *, seconds: float) -> list[Reply]:
    """What every process says to a GET; those that do not answer are left out."""

    async def ask(worker: Worker) -> list[Reply]:
        try:
            return await ask_worker(worker, "GET", path, seconds=seconds)
        except ApiError:
            return []  # it is down, or about to be

    found = await asyncio.gather(*map(ask, once(workers)))
    return [reply for replies in found for reply in replies if reply.status == 200]


def once(workers: Iterable[Worker]) -> list[Worker]:
    """Of workers that are one crew, the first."""
    return list({id(one.crew or one): one for one in reversed(list(workers))}.values())[::-1]


def no_answer(worker: Worker) -> ApiError:
    """A worker said nothing, or nothing that is ours."""
    return ApiError(503, f"worker {worker.id} does not answer", code="worker_lost", retry_after=1.0)
