"""Requests to workers and answers back.

What fails before the client got a byte is tried once more, on another worker; what fails after it ends with
an error event. An answer of 4xx is an answer.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

import httpx
from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.ending import until_over
from llmkit.server.errors import ApiError
from llmkit.server.front import HeldStream, until_gone
from llmkit.server.gate import Caller, Sizes
from llmkit.server.router.asked import read_asked
from llmkit.server.router.attempt import AttemptFailed, Begun, Job, attempt, forwarded
from llmkit.server.router.fleet import Fleet, no_worker
from llmkit.server.router.foreign import passes_over
from llmkit.server.router.left import learn_what_it_took
from llmkit.server.router.relay import Relay
from llmkit.server.router.routing import CRASHES
from llmkit.server.router.state import RouterState
from llmkit.server.router.worker import Lease, Worker, is_own_fault

TRIES = 2
TRIES_ELSEWHERE = 5
AGAIN_SECONDS = 0.3
"""Where somebody else chooses the process, who may not know at once that one is lost; longer each time."""
CRASH_SECONDS = 0.5
"""That the end of a process may be known later than that of its connections."""
SUSPECT_WAIT_SECONDS = 30.0
"""That a request waits for the worker that has crashed under it, and for others under which it has."""


async def write_text(request: Request, body: bytes | None = None) -> Response:
    """POST to an endpoint whose answers are charged, with another body than the client's if one is given."""
    state: RouterState = request.app.state.serve
    job = await _job(request, state, body)
    request.state.model = name = job.group.known_name(job.asked.model, job.asked.content.get("lora"))
    request.state.user = job.asked.user
    if state.log_prompts:
        request.state.prompt = job.asked.said
    began = time.monotonic()
    stack = AsyncExitStack()
    stack.enter_context(state.adapters.held(job.asked.model))
    sizes = Sizes(
        prompt_tokens=job.asked.prompt_tokens,
        max_tokens=job.tokens - job.asked.prompt_tokens,
        answers=job.asked.answers,
        samples=job.asked.samples,
    )
    try:
        stack.enter_context(state.gate.begin(job.caller, sizes))
        place = state.gate.enter(job.caller, sizes, model=name)
        job.slot = request.state.slot = await until_gone(request, stack.enter_async_context(place))
        job.slot.answers = job.asked.answers
        begun = await until_gone(request, _begin(state, job, request.state.request_id))
    except BaseException:
        await stack.aclose()
        raise
    stack.push_async_callback(begun.close)
    waited = job.sent - began
    if begun.relay is None:
        if begun.response.status_code < 400:
            _note_first(job, waited, time.monotonic() - began)
        async with stack:
            return _whole(job, begun)
    first = time.monotonic() - began
    stack.callback(lambda: _note_first(job, waited, first, begun.relay))
    return HeldStream(_events(state, job, begun, request.state.request_id), stack)


async def forward(request: Request, body: bytes | None = None) -> Response:
    """POST to an endpoint whose answers cost no tokens; a body as for `write_text`."""
    state: RouterState = request.app.state.serve
    job = await _job(request, state, body)
    async with AsyncExitStack() as stack:
        stack.enter_context(state.gate.begin(job.caller))
        begun = await until_gone(request, _begin(state, job, request.state.request_id))
        stack.push_async_callback(begun.close)
        return _whole(job, begun)


async def _job(request: Request, state: RouterState, body: bytes | None = None) -> Job:
    """What is asked, of which version.

    Raises:
        ApiError: 400, 403, 404; 503: no worker has it.
    """
    caller: Caller = request.state.caller
    body = await request.body() if body is None else body
    asked = read_asked(body)
    group = state.fleet.find(asked.model, caller)
    if caller.models is not None and asked.content.get("lora"):  # which names adapters by numbers
        problem = "lora: this key may use some models only: model names the adapter"
        raise ApiError(403, problem, code="model_not_allowed", param="lora")
    path = request.url.path
    job = Job(
        path=path,
        body=body,
        headers=dict(request.headers),
        asked=asked,
        caller=caller,
        group=group,
        version=group.main,
        prefixes=asked.prefixes(f"{group.name}\0{caller.tenant}"),
        tokens=asked.prompt_tokens + asked.max_tokens(path, group.card.context),
    )
    job.version = group.choose(job.sticky)
    problems = [passes_over(one, group.name, asked.content) for one in job.version.workers]
    if problems and all(problems):
        raise next(one for one in problems if one is not None)
    return job


async def _begin(state: RouterState, job: Job, request_id: str) -> Begun:
    """The beginning of an answer, of the first worker that has one.

    Raises:
        ApiError: none has: 503, or 500 where workers crash under this request.
    """
    fleet = state.fleet
    tries = TRIES_ELSEWHERE if any(one.secret for one in job.version.workers) else TRIES
    for number in range(tries):
        if number and tries == TRIES_ELSEWHERE:
            await asyncio.sleep(number * AGAIN_SECONDS)
        worker, lease = await _take_worker(fleet, job)
        fleet.failed_over += number > 0
        job.sent = time.monotonic()
        try:
            begun = await attempt(job, worker, lease, request_id)
        except AttemptFailed as failure:
            lease.close()
            await _judge(fleet, job, worker, failure)
            continue
        except asyncio.CancelledError:
            lease.close()
            if not job.asked.stream:  # of a stream its beginning would say so
                await learn_what_it_took(worker, request_id, job.slot)
            raise
        except BaseException:
            lease.close()
            raise
        failed = begun.response.status_code >= 500
        is_full = failed and worker.is_ours and "retry-after" in begun.response.headers  # and no worse for it
        if failed and number + 1 < tries and _has_another(job, worker):
            await begun.close()
            job.tried.add(worker.id)
            if not is_full:
                fleet.went(job.group, job.version, failed=True)
            continue
        fleet.prefixes.note(job.prefixes, worker.id)
        if begun.relay is None and not is_full:
            _went(fleet, job, failed=failed)
        return begun
    raise no_worker(job.group.name)


async def _take_worker(fleet: Fleet, job: Job) -> tuple[Worker, Lease]:
    """A worker for a request, with the request counted as its own.

    Raises:
        ApiError: 503: there is none; 500: workers crash under it.
    """
    digest = job.asked.digest
    if fleet.guard.is_poison(digest):
        raise _poison()
    confined = fleet.guard.confined_to(digest)
    if confined is not None:
        worker = next((one for one in fleet.workers() if one.id == confined), None)
        if worker is None:
            raise no_worker(job.group.name)
        again = await worker.take_again(job.tokens, fleet.next_number, SUSPECT_WAIT_SECONDS)
        if again is None:
            raise no_worker(job.group.name)
        return worker, again

    def does(one: Worker) -> bool:
        return passes_over(one, job.group.name, job.asked.content) is None

    found = fleet.pick(job.version, job.prefixes, job.tried, does)
    if found is None:
        job.version = job.group.choose(job.sticky)
        found = fleet.pick(job.version, job.prefixes, job.tried, does)
    if found is None:
        raise no_worker(job.group.name)
    return found, found.take(job.tokens, fleet.next_number())


async def _judge(fleet: Fleet, job: Job, worker: Worker, failure: AttemptFailed) -> None:
    """Find out why no answer came, and whether the request may be tried again.

    Raises:
        ApiError: 500: it may not: workers crash under it.
    """
    job.tried.add(worker.id)
    fleet.went(job.group, job.version, failed=True)
    if failure.reason == "refused":
        worker.down()
        return
    code = await worker.crash_within(CRASH_SECONDS if failure.reason == "broken" else 0.0)
    if code is None:
        return
    job.crashes += 1
    if is_own_fault(code):
        fleet.guard.blame(job.asked.digest, worker.id)
    if job.crashes >= CRASHES or fleet.guard.is_poison(job.asked.digest):
        raise _poison()


async def _events(state: RouterState, job: Job, begun: Begun, request_id: str) -> AsyncGenerator[bytes]:
    """The events of a stream, to its last word."""
    relay = begun.relay
    assert relay is not None
    yield begun.first
    failure = AttemptFailed("broken")
    try:
        async with aclosing(until_over(state.over, begun.chunks())) as chunks:
            async for chunk in chunks:
                if told := relay.push(chunk):
                    yield told
    except ApiError as ended:  # its time is over, and the worker has done nothing wrong
        job.slot.broke(ended.code)
        yield relay.broken(ended)
        return
    except AttemptFailed as hangs:
        failure = hangs
    except (httpx.TransportError, httpx.StreamError, ValueError):
        pass
    if relay.is_over:
        _went(state.fleet, job, failed=False)
        return
    begun.lease.close()
    error = ApiError(502, "the worker that wrote this answer is gone", code="worker_lost")
    try:
        await _judge(state.fleet, job, begun.worker, failure)
    except ApiError as judged:
        error = judged
    problem = "worker %s left the stream of %s unfinished"
    logging.getLogger("llmkit.serve").warning(problem, begun.worker.id, request_id)
    job.slot.broke(error.code)
    yield relay.broken(error)


def _went(fleet: Fleet, job: Job, *, failed: bool) -> None:
    fleet.went(job.group, job.version, failed=failed)
    if not failed:
        fleet.guard.clear(job.asked.digest)


def _has_another(job: Job, worker: Worker) -> bool:
    """Whether another worker takes requests."""
    return any(one.takes_requests and one is not worker for one in job.version.workers)


def _whole(job: Job, begun: Begun) -> Response:
    """An answer in one piece.

    Raises:
        ApiError: 400: somebody else's server does not have the endpoint.
    """
    if (
        not begun.worker.is_ours
        and begun.response.status_code in (404, 405, 501)
        and b'"error"' not in begun.first
    ):
        problem = f"{job.path} is not there: the server that has {job.group.name!r} does not have it"
        raise ApiError(400, problem, code="not_available")
    return Response(begun.first, begun.response.status_code, headers=forwarded(begun.response.headers))


def _note_first(job: Job, waited: float, measured: float, relay: Relay | None = None) -> None:
    """When the first token came, and what was taken where the worker did not say.

    Args:
        job: over, or given up.
        waited: seconds from the request's arrival until its worker got it.
        measured: seconds until the first byte came.
        relay: of a stream.
    """
    slot = job.slot
    told = slot.first_token_seconds
    slot.first_token_seconds = measured if told is None else told + waited
    if not slot.usage.prompt_tokens:
        slot.usage.prompt_tokens = job.asked.prompt_tokens
        if relay is not None:
            slot.usage.completion_tokens = relay.events


def _poison() -> ApiError:
    problem = "workers crashed while they were at this request; it is not tried again"
    return ApiError(500, problem, code="poison_request", retry=False)
