"""Whether there is a place now: how many requests and tokens may wait, and how long it takes until fewer do.

Requests with a long prompt have a share of the places, and no more: they wait for each other, not the short
ones for them.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from llmkit.server.config import AdmissionConfig
from llmkit.server.errors import ApiError

_MEMORY_SECONDS = 10.0
"""Over which the speed is averaged."""
FIRST_GUESS = 1.0
"""Seconds to come back after, before any speed is known."""


class DrainRate:
    """Tokens a second, of the last seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._done: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, tokens: int) -> None:
        """So many are done."""
        now = self._clock()
        self._done.append((now, tokens))
        self._total += tokens
        self._forget(now)

    @property
    def per_second(self) -> float | None:
        """None where nothing was done lately."""
        now = self._clock()
        self._forget(now)
        if not self._done or not self._total:
            return None
        return self._total / max(now - self._done[0][0], 1.0)

    def _forget(self, now: float) -> None:
        while self._done and self._done[0][0] < now - _MEMORY_SECONDS:
            self._total -= self._done.popleft()[1]


class Admission:
    """The places of an engine."""

    def __init__(self, config: AdmissionConfig, clock: Callable[[], float]) -> None:
        """
        Args:
            config: how many there are.
            clock: seconds.
        """
        self.requests = 0
        self.tokens = 0
        self.rejected = 0
        self._config = config
        self._rate = DrainRate(clock)
        self._long = asyncio.Semaphore(config.long_places)

    def check(self, *, tokens: int, answers: int) -> None:
        """Refuse what there is no place for.

        Raises:
            ApiError: 503, with the time that the queue takes to become short enough at its present speed; 400
                where the request alone is too large.
        """
        config = self._config
        if answers > config.max_requests or tokens > config.max_tokens:
            raise ApiError(
                400,
                f"the request is for {answers:,} answers and up to {tokens:,} tokens, "
                f"and at most {config.max_requests:,} and {config.max_tokens:,} are taken in",
                code="request_too_large",
            )
        over = max(0, self.tokens + tokens - config.max_tokens)
        if self.requests + answers > config.max_requests:
            each = self.tokens / max(1, self.requests)
            over = max(over, round((self.requests + answers - config.max_requests) * each), 1)
        if over:
            self.rejected += 1
            rate = self._rate.per_second
            wait = FIRST_GUESS if rate is None else min(max(over / rate, 0.1), 60.0)
            raise ApiError(503, "the queue is full", code="queue_full", retry_after=wait)

    def limit_long(self, most: int) -> None:
        """Have at most so many long requests with the engine at once, and at least 1; before any is there.

        Args:
            most: such as leaves a place for a short one.
        """
        self._long = asyncio.Semaphore(max(1, min(self._config.long_places, most)))

    async def enter(self, *, prompt_tokens: int, tokens: int, answers: int) -> "Place":
        """Take a place; a long request waits here until one of its share is free.

        Raises:
            ApiError: see `check`.
        """
        self.check(tokens=tokens, answers=answers)
        place = Place(self, tokens, answers, is_long=prompt_tokens >= self._config.long_tokens)
        self.requests += answers
        self.tokens += tokens
        if place.is_long:
            try:
                await self._long.acquire()
            except asyncio.CancelledError:
                place.is_long = False
                place.leave(0)
                raise
        return place

    def left(self, place: "Place", done: int) -> None:
        """A place is free again."""
        self.requests -= place.answers
        self.tokens -= place.tokens
        if place.is_long:
            self._long.release()
        self._rate.add(done)


@dataclass
class Place:
    """What a request holds until it is over."""

    admission: Admission
    tokens: int
    answers: int
    is_long: bool

    def leave(self, done: int) -> None:
        """It is over, and took so many tokens."""
        self.admission.left(self, done)
