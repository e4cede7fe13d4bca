"""SIGHUP: a running server reads its keys again. What is wrong with a file is told, and the old ones stay."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

from llmkit.errors import LlmkitError
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import read_keys
from llmkit.workflows.serve.front import Front

T = TypeVar("T")


async def reading_keys_again(front: Front, note: Callable[[str], None], work: Awaitable[T]) -> T:
    """What a server's run gives; meanwhile SIGHUP has its keys read again.

    Args:
        front: has the keys, where they are not its router's.
        note: told of keys that were read.
        work: the run, from before its model is open.
    """
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, read_keys_again, front, note)
    try:
        return await work
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def read_keys_again(front: Front, note: Callable[[str], None]) -> None:
    """Let in whom the file names now; requests that are under way go on to their end.

    Args:
        front: has the keys.
        note: told of keys that were read.
    """
    gate, path = front.gate, front.config.keys
    if not isinstance(gate, KeyedGate):
        return  # the router has the keys
    if path is None:
        note("SIGHUP: without --keys there is nothing to read again")
        return
    try:
        keys = read_keys(path)
    except LlmkitError as error:
        _tell(error.problem, error.hint)
    except OSError as error:
        _tell(f"{path}: {(error.strerror or str(error)).lower()}", f"let this process read {path}")
    else:
        gate.replace_keys(keys)
        note(f"{path}: keys read again, {len(keys.rules):,} of them")


def _tell(problem: str, hint: str) -> None:
    log = logging.getLogger("llmkit.serve")
    log.error("llmkit: error: %s; the keys stay as they were\n  hint: %s", problem, hint)
