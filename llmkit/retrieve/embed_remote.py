"""Texts to vectors by a server that speaks as OpenAI's `/v1/embeddings` does: others', or `llmkit serve`.

Source: OpenAI's API reference, "Create embeddings".
"""

import time
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.errors import RemoteError, UsageError
from llmkit.formats.jsonl import MALFORMED
from llmkit.retrieve.embed import unit_vectors

TEXTS = 64
"""Of one request, at most."""
TEXT_BYTES = 1 << 18
"""Of one request, as a rule: a longer text has one of its own."""
TRIES = 6
"""Of one request, where what went wrong may pass: about half a minute in all."""
_FIRST_WAIT_SECONDS = 0.5
_MOST_WAIT_SECONDS = 30.0
_PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
_TIMEOUT = httpx.Timeout(120.0, connect=10.0)
_PROBE = "The quick brown fox jumps over the lazy dog."


class _Vector(msgspec.Struct):
    index: int
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Vector]
    model: str = ""


class RemoteEmbedder:
    """Vectors from a server.

    Attributes:
        name: what the server calls its model.
        width: numbers of a vector.
        probe: the vector of a text that is always the same: by it the model is known again.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        key: str | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            url: of the server, with or without `/v1` and `/embeddings`; or `unix:SOCKET`.
            model: which of its models; None: it is not said.
            key: that it asks for.
            transport: None: as the URL says.
            sleep: waits so many seconds.

        Raises:
            UsageError: it is no URL.
            RemoteError: the server refuses, is not there, or gives no vectors.
        """
        self._shown = url
        address, socket = _address(url)
        if transport is None and socket is not None:
            transport = httpx.HTTPTransport(uds=socket)
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._client = httpx.Client(transport=transport, headers=headers, timeout=_TIMEOUT)
        self._address, self._model, self._sleep = address, model, sleep
        self.name, self.width = model or "", 0
        self.probe = self.embed([_PROBE])[0]
        self.width = len(self.probe)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (N, width) of length 1; of a text of nothing but space, zeros.

        Raises:
            RemoteError: see above.
        """
        said = [place for place, text in enumerate(texts) if text.strip()]
        vectors = np.zeros((len(texts), self.width))
        for places in _batches(texts, said):
            found = self._ask([texts[place] for place in places])
            if not self.width:
                vectors = np.zeros((len(texts), found.shape[1]))
            vectors[places] = found
        return unit_vectors(vectors)

    def _ask(self, texts: list[str]) -> NDArray[np.float64]:
        body: dict[str, object] = {"input": texts, "encoding_format": "float"}
        if self._model is not None:
            body["model"] = self._model
        answer = self._read(self._post(msgspec.json.encode(body)))
        self.name = answer.model or self.name
        rows = {one.index: one.embedding for one in answer.data}
        widths = {len(row) for row in rows.values()}
        if set(rows) != set(range(len(texts))) or len(widths) != 1 or not max(widths):
            raise self._wrong(f"{len(texts)} texts, and no vector of one width for each")
        if self.width and widths != {self.width}:
            raise self._wrong(f"vectors of {max(widths)} numbers, where there were {self.width}")
        return np.array([rows[place] for place in range(len(texts))])

    def _post(self, content: bytes) -> httpx.Response:
        """The answer; what may pass is tried again, later and later."""
        for attempt in range(TRIES):
            wait = min(_FIRST_WAIT_SECONDS * 2**attempt, _MOST_WAIT_SECONDS)
            try:
                answer = self._client.post(
                    self._address, content=content, headers={"content-type": "application/json"}
                )
            except httpx.TransportError as error:
                why = str(error) or type(error).__name__
            else:
                if answer.is_success:
                    return answer
                why = f"{answer.status_code}: {_said(answer)}"
                if answer.status_code not in _PASSING:
                    raise self._wrong(why)
                wait = max(wait, min(_told_wait(answer), _MOST_WAIT_SECONDS))
            if attempt + 1 < TRIES:
                self._sleep(wait)
        raise self._wrong(f"{why} ({TRIES} times)")

    def _read(self, answer: httpx.Response) -> _Answer:
        try:
            return msgspec.json.decode(answer.content, type=_Answer)
        except MALFORMED as error:
            raise self._wrong(f"no answer of /v1/embeddings: {error}") from None

    def _wrong(self, why: str) -> RemoteError:
        hint = "see its model (--embed-name), its key (--embed-key), and that --chunk fits its context"
        return RemoteError(f"{self._shown}: {why}", hint=hint)


def _address(url: str) -> tuple[str, str | None]:
    """Where to send requests, and the Unix socket to send them through."""
    if url.startswith("unix:"):
        return "http://llmkit/v1/embeddings", url.removeprefix("unix:").removeprefix("//")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(f"--embed-url {url}: no URL", hint="--embed-url http://127.0.0.1:8000/v1")
    base = url.rstrip("/")
    if base.endswith("/embeddings"):
        return base, None
    return f"{base}/embeddings" if parts.path.strip("/") else f"{base}/v1/embeddings", None


def _batches(texts: Sequence[str], places: Sequence[int]) -> Iterator[list[int]]:
    """Places of texts that go into one request."""
    batch: list[int] = []
    size = 0
    for place in places:
        more = len(texts[place].encode())
        if batch and (len(batch) == TEXTS or size + more > TEXT_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(place)
        size += more
    if batch:
        yield batch


def _said(answer: httpx.Response) -> str:
    """The server's own words, as far as they are any."""
    try:
        message = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = answer.text
    return " ".join(str(message).split())[:300] or answer.reason_phrase


def _told_wait(answer: httpx.Response) -> float:
    try:
        return float(answer.headers.get("retry-after", "0"))
    except ValueError:  # a date
        return 0.0
