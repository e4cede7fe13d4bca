"""Whether workers answer, asked again and again beside the requests."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import msgspec

from llmkit.server.gate import Caller
from llmkit.server.handoff import pack_caller
from llmkit.server.router.worker import Card, Worker


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How often, and for how long."""

    every_seconds: float = 1.0
    answer_seconds: float = 2.0
    """A probe that takes longer has failed."""
    kill_after: int = 8
    """Failed probes in a row after which a process that hangs is ended and started again."""
    cards_every: int = 10
    """Probes after which somebody else's server is asked again what it has: adapters come and go there."""


class _Model(msgspec.Struct):
    id: str
    max_model_len: int | None = None
    system_fingerprint: str | None = None


class _Models(msgspec.Struct):
    data: list[dict[str, Any]]


async def probe(worker: Worker, seconds: float) -> bool:
    """Ask a worker whether it lives, and what it has where that is not known.

    Args:
        worker: its state is changed by the answer.
        seconds: that the answer may take.
    """
    try:
        answer = await worker.client.get("/health", timeout=seconds, headers=headers_of(worker))
        alive = answer.status_code < 500
        cards = worker.cards
        if alive and worker.state != "up":
            cards = await ask_cards(worker, seconds)
    except (httpx.TransportError, msgspec.DecodeError):
        alive = False
    if alive:
        worker.up(cards)
    else:
        worker.probe_failed()
    return alive


async def ask_cards(worker: Worker, seconds: float) -> tuple[Card, ...]:
    """The models that a worker has.

    Raises:
        httpx.TransportError: it does not answer.
        msgspec.DecodeError: it tells something else.
    """
    answer = await worker.client.get("/v1/models", timeout=seconds, headers=headers_of(worker))
    told = msgspec.json.decode(answer.content, type=_Models)
    models = [(msgspec.convert(one, _Model), one) for one in told.data]
    return tuple(Card(one.id, one.max_model_len, one.system_fingerprint, all_) for one, all_ in models)


async def keep_probing(
    worker: Worker, config: ProbeConfig, *, changed: Callable[[Worker], None], hangs: Callable[[], None]
) -> None:
    """Probe a worker until this is cancelled.

    Args:
        worker: its state is changed by the answers.
        config: how often.
        changed: told each time it has come up, or has other models.
        hangs: called when it has answered nothing for long.
    """
    for number in count(1):
        was_up = worker.takes_requests
        await probe(worker, config.answer_seconds)
        if worker.takes_requests and not was_up:
            changed(worker)
        elif worker.takes_requests and not worker.is_ours and number % config.cards_every == 0:
            with contextlib.suppress(httpx.TransportError, msgspec.DecodeError):
                worker.cards = await ask_cards(worker, config.answer_seconds)
                changed(worker)
        if worker.failed_probes >= config.kill_after:
            hangs()
        await asyncio.sleep(config.every_seconds)


def headers_of(worker: Worker) -> dict[str, str]:
    """With which the router itself asks a worker."""
    return {"authorization": f"Bearer {pack_caller(Caller(), worker.secret)}"} if worker.is_ours else {}
