"""Adapters of an engine that runs in a thread: they come and go between two of its passes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.engine.adapters.adapters import AdapterBank

if TYPE_CHECKING:
    from llmkit.model.adapters.weights import AdapterWeights

Call = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function in the engine's thread: `EngineThread.call`."""


class EngineAdapters:
    """What changes the bank; all that takes long is done beside the engine's thread."""

    def __init__(self, bank: AdapterBank, call: Call) -> None:
        """
        Args:
            bank: the engine's.
            call: runs what touches it.
        """
        self._bank = bank
        self._call = call

    async def load(self, name: str, weights: "AdapterWeights", *, strength: float, called: str) -> int:
        """Let requests name an adapter from the next pass on; the bytes that it takes.

        Args:
            name: what errors call it.
            weights: as they were read.
            strength: what its scale is multiplied with.
            called: what requests call it.

        Raises:
            UsageError, DataError, EngineStopped: see `AdapterBank.prepare` and `EngineThread.call`.
        """
        made = await asyncio.to_thread(self._bank.prepare, name, weights, strength=strength)
        added = await self._call(lambda: self._bank.add(replace(made, name=called)))
        return int(added.nbytes)

    async def mix(self, called: str, parts: Sequence[tuple[str, float]]) -> None:
        """Let requests name several adapters at once.

        Args:
            called: what requests call them.
            parts: what requests call each, and what its change is multiplied with.

        Raises:
            UsageError, EngineStopped: there is none of a name; the thread is over.
        """
        from llmkit.engine.adapters.mixed import mixed_adapter  # torch, which an adapter has loaded

        found = await self._call(lambda: [(self._bank.get(name), scale) for name, scale in parts])
        made = await asyncio.to_thread(mixed_adapter, called, found)
        await self._call(lambda: self._bank.add(made))

    async def unload(self, name: str) -> None:
        """Let no request name an adapter any more; texts that have it keep it to their end.

        Raises:
            UsageError, EngineStopped: there is none of this name; the thread is over.
        """
        await self._call(lambda: self._bank.unload(name))
