"""Several adapters at once, each at a scale of its own, as requests ask for them: made when first asked for,
kept for the next request. No torch.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

from llmkit.server.engine_adapters import EngineAdapters
from llmkit.server.errors import ApiError

MOST_MIXES = 8
"""Kept, or in use at once: each takes as much memory as its adapters, and whoever asks chooses the scales."""

Parts = tuple[tuple[str, float], ...]
"""What the engine calls each, and what its change is multiplied with."""


@dataclass(eq=False)
class _Mix:
    """One that the engine has, or is about to have."""

    called: str
    """By the engine: no name that a client may write."""
    made: asyncio.Task[None]
    users: int = 0


class Mixes:
    """Mixes of an engine's adapters."""

    def __init__(self, adapters: EngineAdapters) -> None:
        """
        Args:
            adapters: the engine's.
        """
        self._adapters = adapters
        self._known: dict[Parts, _Mix] = {}
        """The one that was used last is last."""
        self._leaving: set[asyncio.Task[None]] = set()
        self._numbers = count(1)

    @asynccontextmanager
    async def held(self, parts: Parts) -> AsyncIterator[str]:
        """What the engine calls a mix, which stays until this ends.

        Args:
            parts: adapters that the engine has, and keeps as long.

        Raises:
            ApiError: 503: too many others are in use.
            UsageError, EngineStopped: see `EngineAdapters.mix`.
        """
        mix = self._known.pop(parts, None) or self._begin(parts)
        self._known[parts] = mix
        mix.users += 1
        try:
            await asyncio.shield(mix.made)  # whoever leaves meanwhile: another may wait for the same
            yield mix.called
        finally:
            mix.users -= 1
            is_known = self._known.get(parts) is mix
            if mix.made.done() and mix.made.exception() is not None:  # the next one tries again
                if is_known:
                    del self._known[parts]
            elif not mix.users and not is_known:
                self._leave(mix)

    def forget(self, called: str) -> None:
        """Keep no mix of an adapter that leaves; those in use stay until they are not."""
        for parts in [parts for parts in self._known if called in dict(parts)]:
            if not (mix := self._known.pop(parts)).users:
                self._leave(mix)

    def _begin(self, parts: Parts) -> _Mix:
        if len(self._known) >= MOST_MIXES:
            unused = next((one for one, mix in self._known.items() if not mix.users), None)
            if unused is None:
                problem = f"{MOST_MIXES} other mixes of adapters are in use"
                raise ApiError(503, problem, code="overloaded", retry_after=1.0)
            self._leave(self._known.pop(unused))
        called = f"+{next(self._numbers)}"
        return _Mix(called, asyncio.create_task(self._adapters.mix(called, parts)))

    def _leave(self, mix: _Mix) -> None:
        async def leave() -> None:
            await mix.made
            await self._adapters.unload(mix.called)

        task = asyncio.create_task(leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
