"""The gate of a server with keys: who it is, how fast and how much that one may ask, and a place for it."""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

from llmkit.formats.amount_text import plural
from llmkit.server.admission import Admission
from llmkit.server.errors import ApiError
from llmkit.server.gate import NOTHING, Caller, Sizes, Slot
from llmkit.server.keys import KeyRules, Keys
from llmkit.server.limits import Bucket
from llmkit.server.usage import UsageStore, day_ends_in, month_ends_in

_NO_LIMITS = KeyRules(sha256="")
_SOON = 1.0
"""Seconds to come back after, where other requests of the key are in the way."""
_ASIDE = ", and its requests under way may come to all that is left"


class KeyedGate:
    """Identifies callers, holds them to their limits, and charges what they took.

    What a request takes is known when it is over. Until then all that it may come to is set aside, so that
    requests at once pass a limit by no more than one of them alone does.

    Attributes:
        limited: requests refused for a key's own limits, by key.
    """

    def __init__(
        self,
        keys: Keys | None,
        admission: Admission,
        usage: UsageStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """
        Args:
            keys: None lets everybody in, all as one caller.
            admission: the engine's places.
            usage: where tokens are charged.
            clock: seconds, for rates.
            now: the time, for budgets of days and months.
        """
        self.limited: dict[str, int] = defaultdict(int)
        self.admission = admission
        self._keys = keys
        self._usage = usage
        self._clock = clock
        self._now = now
        self._requests: dict[str, Bucket] = {}
        self._tokens: dict[str, Bucket] = {}
        self._running: dict[str, int] = defaultdict(int)
        self._set_aside: dict[str, int] = defaultdict(int)

    @property
    def unwritten(self) -> int:
        """Requests that are charged and not in the database of usage yet."""
        return self._usage.unwritten

    def replace_keys(self, keys: Keys | None) -> None:
        """Take other keys from now on; those that stay keep the state of their limits."""
        self._keys = keys

    def identify(self, key: str | None) -> Caller:
        """Whose key it is.

        Raises:
            ApiError: 401: there is none, or it is nobody's.
        """
        if self._keys is None:
            return Caller()
        name = self._keys.find(key)
        if name is None:
            raise _unknown() if key else ApiError(401, "no API key", code="invalid_api_key")
        return self._keys.caller(name)

    @contextmanager
    def begin(self, caller: Caller, sizes: Sizes = NOTHING) -> Iterator[None]:
        """Count a request against its key before anything is done for it; under way until the context ends.

        Of tokens nothing is set aside yet; a request that is sure to be refused for them is refused here.

        Raises:
            ApiError: see `enter`.
        """
        name, rules = caller.name, self._rules(caller.name)
        self._check_requests(name, rules)
        if sizes.answers:
            self._check_tokens(name, rules, sizes.prompt_tokens + sizes.answers)
            # before it is counted against its key
            self.admission.check(tokens=sizes.tokens, answers=sizes.answers)
        if rules.requests_per_minute is not None:
            self._bucket(self._requests, name, rules.requests_per_minute).take(self._clock(), 1)
        self._running[name] += 1
        try:
            yield
        finally:
            self._running[name] -= 1

    @asynccontextmanager
    async def enter(self, caller: Caller, sizes: Sizes, *, model: str) -> AsyncIterator[Slot]:
        """A place for a request that has begun; what it took is charged when the context ends, in any way.

        Raises:
            ApiError: 401: its key is not known any more; 429: over one of the key's limits; 503: the queue is
                full.
        """
        rules = self._rules(caller.name)
        self._check_tokens(caller.name, rules, sizes.prompt_tokens + sizes.answers)
        most = sizes.prompt_tokens + sizes.max_tokens
        self._set_aside[caller.name] += most
        slot = Slot()
        place = None
        try:
            place = await self.admission.enter(
                prompt_tokens=sizes.prompt_tokens, tokens=sizes.tokens, answers=sizes.answers
            )
            yield slot
        finally:
            self._set_aside[caller.name] -= most
            done = 0 if slot.first_token_seconds is None else slot.usage.total_tokens  # nothing came of it
            if place is not None:
                place.leave(done)
            if rules.tokens_per_minute is not None:
                self._bucket(self._tokens, caller.name, rules.tokens_per_minute).take(self._clock(), done)
            if done:
                self._usage.charge(caller.name, model, slot.usage, self._now())

    def _check_requests(self, name: str, rules: KeyRules) -> None:
        """Refuse one more request than the key may have, with the time after which it may."""
        if rules.concurrent is not None and self._running[name] >= rules.concurrent:
            self._refuse(name, f"{plural(rules.concurrent, 'request')} at once", "concurrency_limit", _SOON)
        rate = rules.requests_per_minute
        if rate is not None and (wait := self._bucket(self._requests, name, rate).wait(self._clock(), 1)):
            self._refuse(name, f"{rate:g} requests a minute", "rate_limit_exceeded", wait)

    def _check_tokens(self, name: str, rules: KeyRules, least_tokens: int) -> None:
        """Refuse what is over a limit of the key's tokens, with the time after which it is not."""
        clock, now = self._clock(), self._now()
        aside = self._set_aside[name]
        if rules.tokens_per_minute is not None:
            limit = f"{rules.tokens_per_minute:g} tokens a minute"
            bucket = self._bucket(self._tokens, name, rules.tokens_per_minute)
            if wait := bucket.wait(clock):
                self._refuse(name, limit, "rate_limit_exceeded", wait)
            if aside >= bucket.level:
                self._refuse(name, f"{limit}{_ASIDE}", "rate_limit_exceeded", _SOON)
        day, month = rules.tokens_per_day, rules.tokens_per_month
        if day is not None:
            left = day - self._usage.tokens_of_day(name, now) - least_tokens
            self._check_budget(name, f"{plural(day, 'token')} a day", left, day_ends_in(now))
        if month is not None:
            left = month - self._usage.tokens_of_month(name, now) - least_tokens
            self._check_budget(name, f"{plural(month, 'token')} a month", left, month_ends_in(now))

    def _check_budget(self, name: str, limit: str, left: int, ends_in: float) -> None:
        """Refuse what a budget has not: not in its time, or not beside what is under way."""
        if left < 0:
            self._refuse(name, limit, "quota_exceeded", ends_in)
        if left < self._set_aside[name]:
            self._refuse(name, f"{limit}{_ASIDE}", "quota_set_aside", _SOON)

    def _refuse(self, name: str, limit: str, code: str, wait: float) -> None:
        self.limited[name] += 1
        raise ApiError(429, f"this key may have {limit}", code=code, retry_after=wait)

    def _rules(self, name: str) -> KeyRules:
        """Of a key.

        Raises:
            ApiError: 401: it was taken away since it was shown.
        """
        if self._keys is None:
            return _NO_LIMITS
        if name not in self._keys.rules:
            raise _unknown()
        return self._keys.rules[name]

    def _bucket(self, buckets: dict[str, Bucket], name: str, per_minute: float) -> Bucket:
        bucket = buckets.get(name)
        if bucket is None or bucket.per_minute != per_minute:
            bucket = buckets[name] = Bucket.full(per_minute, self._clock())
        return bucket


def _unknown() -> ApiError:
    return ApiError(401, "this API key is not known", code="invalid_api_key")
