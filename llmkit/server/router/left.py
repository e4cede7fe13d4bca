"""What an answer took whose client has left: its worker is asked, as there is nothing to read it from."""

import asyncio
import contextlib

import msgspec

from llmkit.server.errors import ApiError
from llmkit.server.gate import Slot
from llmkit.server.handoff import read_slot
from llmkit.server.router.processes import ask_worker
from llmkit.server.router.worker import Worker

_SECONDS = 1.0
"""For all of it: a worker that hangs is not waited for."""
_SOON = 0.02
"""Seconds in which a worker sees that its connection is closed; longer each time."""
_TRIES = 5


class _Left(msgspec.Struct):
    took: str


async def learn_what_it_took(worker: Worker, request_id: str, slot: Slot) -> None:
    """Write into a slot what a given up answer took; nothing where its worker does not know of it.

    Args:
        worker: wrote the answer, until its connection was closed.
        request_id: that the worker was told.
        slot: of the request.
    """
    if not worker.is_ours:
        return
    with contextlib.suppress(ApiError, TimeoutError, msgspec.DecodeError, ValueError):
        async with asyncio.timeout(_SECONDS):
            for number in range(_TRIES):
                await asyncio.sleep(_SOON * 2**number)
                replies = await ask_worker(worker, "POST", f"/worker/left/{request_id}", seconds=_SECONDS)
                for reply in replies:
                    if reply.status == 200:  # of a crew's processes, the one that wrote it
                        read_slot(msgspec.json.decode(reply.content, type=_Left).took, slot)
                        return
