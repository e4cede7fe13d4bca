"""Texts to vectors by a server that speaks as OpenAI's `/v1/embeddings` does: others', or `llmkit serve`.

Source: OpenAI's API reference, "Create embeddings".
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.errors import RemoteError, UsageError
from llmkit.formats.amount_text import plural
from llmkit.formats.jsonl import MALFORMED
from llmkit.formats.url import split_url
from llmkit.retrieve.config import SEARCH_FLAGS, SearchFlags
from llmkit.retrieve.embed import unit_vectors
from llmkit.retrieve.retry import PASSING, Answer, LateError, PatientClient, UnansweredError

TEXTS = 64
"""Of one request, at most."""
TEXT_BYTES = 1 << 18
"""Of one request, as a rule: a longer text has one of its own."""
TRIES = 6
"""Of one request, where what went wrong may pass and there is time."""
BULK_SECONDS = 300.0
"""That a request with passages to index may take, tries and waits included: a server on a CPU is slow."""
_FIRST_WAIT_SECONDS = 0.5
_PASSING = PASSING | {409, 500}
"""As OpenAI's own client has it."""
_PROBE = "The quick brown fox jumps over the lazy dog."


class _Vector(msgspec.Struct):
    index: int
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Vector]
    model: str = ""


class RemoteEmbedder:
    """Vectors from a server; from any thread, and from several at once.

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
        seconds: float = BULK_SECONDS,
        flags: SearchFlags = SEARCH_FLAGS,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            url: of the server, with or without `/v1` and `/embeddings`; or `unix:SOCKET`.
            model: which of its models; None: it is not said.
            key: that it asks for.
            seconds: that a request may take, tries and waits included.
            flags: what errors call the flags.
            transport: None: as the URL says.
            sleep: waits so many seconds.

        Raises:
            UsageError: it is no URL.
            RemoteError: the server refuses, is not there, or gives no vectors.
        """
        self._shown = url
        address, socket = server_address(url, flags)
        if transport is None and socket is not None:
            transport = httpx.HTTPTransport(uds=socket)
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._requests = PatientClient(
            httpx.Client(transport=transport, headers=headers),
            seconds=seconds,
            tries=TRIES,
            first_wait=_FIRST_WAIT_SECONDS,
            passing=_PASSING,
            sleep=sleep,
        )
        self._address, self._model, self._flags = address, model, flags
        self.name, self.width = model or "", 0
        with ExitStack() as stack:
            stack.callback(self.close)
            self.probe = self.embed([_PROBE])[0]
            stack.pop_all()
        self.width = len(self.probe)

    def close(self) -> None:
        """Give back its connections."""
        self._requests.close()

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

    def embed_query(self, query: str) -> NDArray[np.float32]:
        """The vector (width,) of a query: a server is not told what it is.

        Raises:
            RemoteError: see above.
        """
        return self.embed([query])[0]

    def _ask(self, texts: list[str]) -> NDArray[np.float64]:
        body: dict[str, object] = {"input": texts, "encoding_format": "float"}
        if self._model is not None:
            body["model"] = self._model
        answer = self._read(self._post(msgspec.json.encode(body)))
        self.name = answer.model or self.name
        rows = {one.index: one.embedding for one in answer.data}
        widths = {len(row) for row in rows.values()}
        if set(rows) != set(range(len(texts))) or len(widths) != 1 or not max(widths):
            raise self._wrong(f"{plural(len(texts), 'text')}, and no vector of one width for each")
        if self.width and widths != {self.width}:
            raise self._wrong(f"vectors of {max(widths)} numbers, where there were {self.width}")
        return np.array([rows[place] for place in range(len(texts))])

    def _post(self, content: bytes) -> Answer:
        """The answer; what may pass is tried again, later and later."""
        try:
            answer = self._requests.ask("POST", self._address, content)
        except UnansweredError as error:
            raise self._wrong(str(error), is_late=isinstance(error, LateError)) from None
        if answer.status >= 300:
            raise self._wrong(f"{answer.status}: {_said(answer)}{answer.after_tries}")
        return answer

    def _read(self, answer: Answer) -> _Answer:
        try:
            return msgspec.json.decode(answer.content, type=_Answer)
        except MALFORMED as error:
            raise self._wrong(f"no answer of /v1/embeddings: {error}") from None

    def _wrong(self, why: str, *, is_late: bool = False) -> RemoteError:
        flags = self._flags
        hint = f"see its model ({flags.embed_name}), its key ({flags.embed_key}), and what fits its context"
        if is_late:
            hint = f"curl {self._address}" if flags.seconds is None else f"give it more time: {flags.seconds}"
        return RemoteError(f"{self._shown}: {why}", hint=hint)


def server_address(url: str, flags: SearchFlags = SEARCH_FLAGS) -> tuple[str, str | None]:
    """Where to send requests, and the Unix socket to send them through.

    Raises:
        UsageError: it is no URL.
    """
    if url.startswith("unix:"):
        return "http://llmkit/v1/embeddings", url.removeprefix("unix:").removeprefix("//")
    if (parts := split_url(url)) is None:
        raise UsageError(
            f"{flags.embed_url} {url}: no URL", hint=f"{flags.embed_url} http://127.0.0.1:8000/v1"
        )
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


def _said(answer: Answer) -> str:
    """The server's own words, as far as they are any."""
    try:
        message = msgspec.json.decode(answer.content)["error"]["message"]
    except (*MALFORMED, KeyError, TypeError):
        message = answer.content.decode(errors="replace")
    return " ".join(str(message).split())[:300] or httpx.codes.get_reason_phrase(answer.status)
