"""llama.cpp's own endpoints: POST /completion, and POST /infill, which editors ask for the text in a gap."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.answer import Answered, Piece, Usage
from llmkit.server.ask import Ask
from llmkit.server.errors import ApiError
from llmkit.server.handlers import Endpoint, State, respond
from llmkit.server.sse import data
from llmkit.server.strict_json import decode
from llmkit.server.wire.infill import InfillRequest, read_infill
from llmkit.server.wire.llama import LlamaFields, LlamaRequest, llama_chunk, llama_object, read_llama

T = TypeVar("T", bound=LlamaFields)


async def completion(request: Request) -> Response:
    """POST /completion."""
    return await _answer(request, LlamaRequest, read_llama)


async def infill(request: Request) -> Response:
    """POST /infill."""
    return await _answer(request, InfillRequest, read_infill)


async def _answer(request: Request, kind: type[T], read: Callable[..., Ask]) -> Response:
    """Answer a body of a kind, of which `read` makes what is asked for."""
    state: State = request.app.state.serve
    told = decode(await request.body(), kind)
    served = state.models.find(told.model, request.state.caller)
    ask = read(told, served.base, state.limits, max_tokens=served.context)
    telling = _Telling(request, told)
    return await respond(request, ask, served, Endpoint("llama-", telling.whole, telling.stream))


class _Telling:
    """How one request is answered: with the time that it took."""

    def __init__(self, request: Request, told: LlamaFields) -> None:
        self._request = request
        self.told = told
        self._began = time.monotonic()

    def whole(self, who: Answered, answers: Sequence[Sequence[Piece]], usage: Usage) -> dict[str, Any]:
        """The answer in one piece."""
        return llama_object(who.model, answers[0], usage, self.told, self._seconds())

    def last(self, who: Answered, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]:
        """The last word behind pieces that were told as they came."""
        return llama_object(who.model, pieces, usage, self.told, self._seconds(), streamed=True)

    def stream(self, who: Answered, ask: Ask) -> "LlamaStream":
        """The answer as it is written."""
        return LlamaStream(who, self)

    def _seconds(self) -> tuple[float, float]:
        """To the first token, and from there on."""
        took = time.monotonic() - self._began
        reading = self._request.state.slot.first_token_seconds or took
        return reading, max(0.0, took - reading)


class LlamaStream:
    """Of these endpoints: the last event says `stop`, and no other comes behind it."""

    def __init__(self, who: Answered, telling: _Telling) -> None:
        self._who = who
        self._telling = telling
        self._pieces = [Piece(0)]
        self._is_silent = telling.told.n_predict == 0

    def begin(self, usage: Usage) -> list[bytes]:
        """Nothing: the first piece is the first event."""
        return []

    def piece(self, piece: Piece, usage: Usage) -> list[bytes]:
        """An event where there is something to tell."""
        self._pieces.append(piece)
        is_told = bool(piece.text or piece.scores) and not self._is_silent
        return [data(llama_chunk(piece))] if is_told else []

    def end(self, usage: Usage) -> list[bytes]:
        """How it ended, how many tokens there were, and how long they took."""
        told = self._telling.last(self._who, self._pieces, usage)
        return [data({"stop": True} | told)]  # whatever fields are asked for: there is no other last word

    def failed(self, error: ApiError) -> list[bytes]:
        """In the words of every other error."""
        return [data(error.body())]
