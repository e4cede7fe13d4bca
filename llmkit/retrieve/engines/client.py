"""Requests to a search engine: within a time, a size and a few tries, and errors that say what to do."""

import base64
import time
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from llmkit.errors import DataError, MissingError, RemoteError
from llmkit.formats.jsonl import MALFORMED
from llmkit.retrieve.engines.address import EngineAddress

TIMEOUT_SECONDS = 30.0
"""Of a search, tries and waits included."""
TRIES = 3
MOST_BYTES = 64 << 20
"""Of an answer."""
_PASSING = {408, 429, 502, 503, 504}
_FIRST_WAIT_SECONDS = 0.2


class EngineClient:
    """A client of one engine; from any thread, and from several at once."""

    def __init__(
        self,
        address: EngineAddress,
        *,
        key: str | None = None,
        seconds: float = TIMEOUT_SECONDS,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            address: of the engine.
            key: `USER:PASSWORD`, or a key as the engine gives them.
            seconds: that a search may take.
            transport: None: as the address says.
            sleep: waits so many seconds.
        """
        self.address = address
        self._seconds, self._sleep = seconds, sleep
        headers = {} if key is None else _authorization(address, key)
        self._client = httpx.Client(base_url=address.url, headers=headers, transport=transport)

    def close(self) -> None:
        """Give back its connections."""
        self._client.close()

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """An answer, from JSON.

        Raises:
            MissingError: the collection is not there.
            RemoteError: the engine is not there, is late, refuses, or answers with something else.
        """
        until = time.monotonic() + self._seconds
        content = None if body is None else msgspec.json.encode(body)
        why, status, attempt = "", None, 0
        while attempt < TRIES and (left := until - time.monotonic()) > 0:
            if attempt:
                self._sleep(min(left, _FIRST_WAIT_SECONDS * 2 ** (attempt - 1)))
            attempt += 1
            try:
                status, answer = self._once(method, path, content, until)
            except httpx.TimeoutException:
                raise self.wrong(f"no answer within {self._seconds:g} seconds", "--index-timeout") from None
            except httpx.TransportError as error:
                why, status = str(error) or type(error).__name__, None
                continue
            if status < 300:
                return self._decoded(answer)
            why = f"{status}: {_said(answer)}"
            if status not in _PASSING:
                break
        raise self._refused(status, why)

    def wrong(self, why: str, hint: str) -> RemoteError:
        """An error of this engine."""
        return RemoteError(f"{self.address.shown}: {why}", hint=hint)

    def _once(self, method: str, path: str, content: bytes | None, until: float) -> tuple[int, bytes]:
        left = max(0.001, until - time.monotonic())
        headers = {} if content is None else {"content-type": "application/json"}
        parts, size = list[bytes](), 0
        with self._client.stream(method, path, content=content, headers=headers, timeout=left) as answer:
            for part in answer.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise self.wrong(f"an answer of more than {MOST_BYTES >> 20} MiB", "ask for fewer: -k N")
                if time.monotonic() > until:  # a byte now and then is no answer either
                    raise httpx.ReadTimeout("late")
            return answer.status_code, b"".join(parts)

    def _decoded(self, content: bytes) -> Any:
        try:
            return msgspec.json.decode(content)
        except MALFORMED as error:
            hint = "see that the address is the engine's, and not that of a page before it"
            raise self.wrong(f"no JSON: {error}", hint) from None

    def _refused(self, status: int | None, why: str) -> MissingError | RemoteError:
        if status == 404:
            return MissingError(
                f"{self.address.shown}: no such collection ({why})", hint=f"curl {self.address.url}"
            )
        if status in (401, 403):
            return self.wrong(why, "--index-key FILE: its one line is USER:PASSWORD or a key")
        return self.wrong(why, f"curl {self.address.url}")


def entry_of(answer: Any, *keys: str | int) -> Any:
    """What stands in an answer under some keys.

    Raises:
        DataError: it is not of that form.
    """
    for key in keys:
        try:
            answer = answer[key]
        except (KeyError, IndexError, TypeError):
            place = ".".join(map(str, keys))
            raise DataError(
                f"an answer without {place}", hint="is this an engine of the kind that the address says?"
            ) from None
    return answer


def _authorization(address: EngineAddress, key: str) -> dict[str, str]:
    if address.kind == "qdrant":
        return {"api-key": key}
    if ":" in key:
        return {"authorization": f"Basic {base64.b64encode(key.encode()).decode()}"}
    return {"authorization": f"ApiKey {key}"}


def _said(answer: bytes) -> str:
    """The engine's own words, as far as they are any."""
    for kind in (_OpenSearchError, _QdrantError, _PlainError):
        try:
            told: Any = msgspec.json.decode(answer, type=kind)
        except MALFORMED:
            continue
        return str(told.said())[:300]
    return " ".join(answer[:300].decode(errors="replace").split())


class _Reason(msgspec.Struct):
    reason: str
    root_cause: list["_Reason"] = []


class _OpenSearchError(msgspec.Struct):
    error: _Reason

    def said(self) -> str:
        cause = self.error.root_cause
        return cause[0].reason if cause else self.error.reason


class _Error(msgspec.Struct):
    error: str


class _QdrantError(msgspec.Struct):
    status: _Error

    def said(self) -> str:
        return self.status.error


class _PlainError(_Error):
    def said(self) -> str:
        return self.error
