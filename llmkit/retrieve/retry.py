"""Requests to servers of others: made again where what went wrong may pass, all of it within one deadline."""

import time
from collections.abc import Callable, Set
from dataclasses import dataclass

import httpx

PASSING = frozenset({408, 425, 429, 502, 503, 504})
"""Statuses after which a request is made again."""
MOST_BYTES = 64 << 20
"""Of an answer."""
_CONNECT_SECONDS = 10.0


class UnansweredError(Exception):
    """A request without an answer, and why in words."""


class LateError(UnansweredError):
    """There was none within the time."""


class TooLargeError(UnansweredError):
    """There was more of it than MOST_BYTES."""


@dataclass(frozen=True)
class Answer:
    """What a server answered, whatever its status."""

    status: int
    content: bytes
    told_wait: float
    """Seconds that it asks to wait for; 0 where it says nothing."""
    tries: int = 1
    """How often it was asked."""

    @property
    def after_tries(self) -> str:
        """That it was asked more than once, for the end of an error."""
        return _times(self.tries)


class PatientClient:
    """Asks one server, in vain and again; from any thread, and from several at once."""

    def __init__(
        self,
        client: httpx.Client,
        *,
        seconds: float,
        tries: int,
        first_wait: float,
        passing: Set[int] = PASSING,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            client: whose connections are used; closed by `close`.
            seconds: that a request may take, tries and waits included.
            tries: of a request.
            first_wait: seconds before the second try; before each further one it is twice as long, or as long
                as the server says. A wait for which there is no time is not begun.
            passing: statuses that may be others the next time.
            sleep: waits so many seconds.
        """
        self._client, self._seconds, self._tries = client, seconds, tries
        self._first_wait, self._passing, self._sleep = first_wait, passing, sleep

    def close(self) -> None:
        """Give back its connections."""
        self._client.close()

    def ask(self, method: str, address: str, content: bytes | None = None) -> Answer:
        """The answer to a request; `content` is JSON.

        Raises:
            LateError, TooLargeError, UnansweredError: see above.
        """
        until = time.monotonic() + self._seconds
        for tried in range(1, self._tries + 1):
            wait = self._first_wait * 2 ** (tried - 1)
            found: Answer | httpx.RequestError
            try:
                found = self._once(method, address, content, until, tried)
            except httpx.RequestError as error:  # also what cannot be unpacked
                found = error
            else:
                if found.status not in self._passing:
                    return found
                wait = max(wait, found.told_wait)
            left = until - time.monotonic()
            if tried == self._tries or wait >= left:
                break
            self._sleep(wait)
        if isinstance(found, Answer):
            return found
        if isinstance(found, httpx.TimeoutException) and wait >= left:
            raise LateError(f"no answer within {self._seconds:g} seconds")
        raise UnansweredError(f"{str(found) or type(found).__name__}{_times(tried)}")

    def _once(self, method: str, address: str, content: bytes | None, until: float, tried: int) -> Answer:
        left = max(0.001, until - time.monotonic())
        timeout = httpx.Timeout(left, connect=min(left, _CONNECT_SECONDS))
        headers = {} if content is None else {"content-type": "application/json"}
        parts, size = list[bytes](), 0
        with self._client.stream(
            method, address, content=content, headers=headers, timeout=timeout
        ) as answer:
            for part in answer.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise TooLargeError(f"an answer of more than {MOST_BYTES >> 20} MiB")
                if time.monotonic() > until:  # a byte now and then is no answer either
                    raise httpx.ReadTimeout("late")
            return Answer(answer.status_code, b"".join(parts), _told_wait(answer), tried)


def _times(tries: int) -> str:
    return f" ({tries} times)" if tries > 1 else ""


def _told_wait(answer: httpx.Response) -> float:
    try:
        return float(answer.headers.get("retry-after", "0"))
    except ValueError:  # a date
        return 0.0
