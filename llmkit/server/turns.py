"""Turns at something of which there are few, caller by caller: who asks for much waits behind itself."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from llmkit.server.admission import FIRST_GUESS, DrainRate
from llmkit.server.errors import ApiError

T = TypeVar("T")


class Turns(Generic[T]):
    """Things that one has at a time. Few may wait for one, and who waits no more does not get one.

    Attributes:
        waiting: for one of them, now.
        refused: since the beginning, as too many waited.
    """

    def __init__(
        self, things: Iterable[T], *, most_waiting: int, what: str, clock: Callable[[], float]
    ) -> None:
        """
        Args:
            things: all of them, free.
            most_waiting: for one of them, of all callers together.
            what: waits, in the plural; refusals say it.
            clock: seconds.
        """
        self.waiting = 0
        self.refused = 0
        self._free = deque(things)
        self._most_waiting = most_waiting
        self._what = what
        self._rate = DrainRate(clock)
        self._lines: dict[str, deque[asyncio.Future[T]]] = {}
        """By caller; the first one is next, and then the last."""

    async def take(self, caller: str) -> T:
        """One of the things, to be given back.

        Args:
            caller: whose turn it takes; an empty name is a caller too.

        Raises:
            ApiError: 503: too many wait, or came before the end of this one's wait from callers with fewer.
        """
        if self._free:  # then nobody waits
            return self._free.popleft()
        if self.waiting >= self._most_waiting:
            self._make_room(caller)
        place: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(caller, deque()).append(place)
        self.waiting += 1
        try:
            return await place
        except asyncio.CancelledError:
            if not place.cancelled() and place.exception() is None:  # it came as the caller left
                self.give_back(place.result())
            self._leave(caller, place)
            raise

    def give_back(self, one: T) -> None:
        """Let the next have it."""
        self._rate.add(1)
        while self._lines:
            caller = next(iter(self._lines))
            line = self._lines.pop(caller)
            place = line.popleft()
            self.waiting -= 1
            if line:
                self._lines[caller] = line
            if not place.done():
                place.set_result(one)
                return
        self._free.append(one)

    def _make_room(self, caller: str) -> None:
        """Let the last of the longest line go, where that is longer than the caller's own will be.

        Raises:
            ApiError: 503: it is not.
        """
        longest = max(self._lines.values(), key=len)
        if len(longest) <= len(self._lines.get(caller, ())) + 1:
            raise self._full()
        place = longest.pop()
        self.waiting -= 1
        if not place.done():
            place.set_exception(self._full())

    def _leave(self, caller: str, place: asyncio.Future[T]) -> None:
        line = self._lines.get(caller, deque())
        if place in line:
            line.remove(place)
            self.waiting -= 1
            if not line:
                del self._lines[caller]

    def _full(self) -> ApiError:
        self.refused += 1
        rate = self._rate.per_second
        wait = FIRST_GUESS if rate is None else min(max(1 / rate, 0.1), 60.0)
        return ApiError(503, f"the queue of {self._what} is full", code="queue_full", retry_after=wait)
