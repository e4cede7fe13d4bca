"""Requests to a search engine, and errors that say what to do."""

import base64
import time
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from llmkit.errors import DataError, MissingError, RemoteError
from llmkit.formats.jsonl import MALFORMED
from llmkit.retrieve.config import SEARCH_FLAGS, SEARCH_SECONDS, SearchFlags
from llmkit.retrieve.engines.address import EngineAddress
from llmkit.retrieve.retry import LateError, PatientClient, TooLargeError, UnansweredError

TRIES = 3
_FIRST_WAIT_SECONDS = 0.2


class EngineClient:
    """A client of one engine; from any thread, and from several at once."""

    def __init__(
        self,
        address: EngineAddress,
        *,
        key: str | None = None,
        seconds: float = SEARCH_SECONDS,
        flags: SearchFlags = SEARCH_FLAGS,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            address: of the engine.
            key: `USER:PASSWORD`, or a key as the engine gives them.
            seconds: that a request may take, tries and waits included.
            flags: what errors call the flags.
            transport: None: as the address says.
            sleep: waits so many seconds.
        """
        self.address, self._flags = address, flags
        headers = {} if key is None else _authorization(address, key)
        client = httpx.Client(base_url=address.url, headers=headers, transport=transport)
        self._requests = PatientClient(
            client, seconds=seconds, tries=TRIES, first_wait=_FIRST_WAIT_SECONDS, sleep=sleep
        )

    def close(self) -> None:
        """Give back its connections."""
        self._requests.close()

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """An answer, from JSON.

        Raises:
            MissingError: the collection is not there.
            RemoteError: the engine is not there, is late, refuses, or answers with something else.
        """
        content = None if body is None else msgspec.json.encode(body)
        try:
            answer = self._requests.ask(method, path, content)
        except UnansweredError as error:
            raise self.wrong(str(error), self._hint_after(error)) from None
        if answer.status < 300:
            return self._decoded(answer.content)
        raise self._refused(answer.status, f"{answer.status}: {_said(answer.content)}{answer.after_tries}")

    def wrong(self, why: str, hint: str) -> RemoteError:
        """An error of this engine."""
        return RemoteError(f"{self.address.shown}: {why}", hint=hint)

    def _hint_after(self, error: UnansweredError) -> str:
        flags = self._flags
        if isinstance(error, TooLargeError):
            return flags.fewer
        if isinstance(error, LateError) and flags.seconds is not None:
            return f"give it more time: {flags.seconds}"
        return f"curl {self.address.url}"

    def _decoded(self, content: bytes) -> Any:
        try:
            return msgspec.json.decode(content)
        except MALFORMED as error:
            hint = "see that the address is the engine's, and not that of a page before it"
            raise self.wrong(f"no JSON: {error}", hint) from None

    def _refused(self, status: int, why: str) -> MissingError | RemoteError:
        if status == 404:
            return MissingError(
                f"{self.address.shown}: no such collection ({why})", hint=f"curl {self.address.url}"
            )
        if status in (401, 403) and self._flags.key is not None:
            return self.wrong(why, f"{self._flags.key} FILE: its one line is USER:PASSWORD or a key")
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
