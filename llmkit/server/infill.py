"""POST /infill: the text in a gap, as editors ask llama.cpp's server for it."""

import time
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.answer import Answered, Piece, Usage
from llmkit.server.ask import Ask
from llmkit.server.errors import ApiError
from llmkit.server.handlers import Endpoint, State, respond
from llmkit.server.sse import data
from llmkit.server.strict_json import decode
from llmkit.server.wire.infill import InfillRequest, infill_chunk, infill_object, read_infill


async def infill(request: Request) -> Response:
    """POST /infill."""
    state: State = request.app.state.serve
    told = decode(await request.body(), InfillRequest)
    served = state.models.find(told.model, request.state.caller)
    ask = read_infill(told, served.base, state.limits, max_tokens=served.context)
    telling = _Telling(request, told)
    return await respond(request, ask, served, Endpoint("infill-", telling.whole, telling.stream))


class _Telling:
    """How one request is answered: with the time that it took."""

    def __init__(self, request: Request, told: InfillRequest) -> None:
        self._request = request
        self._told = told
        self._began = time.monotonic()

    def whole(self, who: Answered, answers: Sequence[Sequence[Piece]], usage: Usage) -> dict[str, Any]:
        """The answer in one piece."""
        return self.last(who, answers[0], usage)

    def last(self, who: Answered, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]:
        """The last word."""
        took = time.monotonic() - self._began
        reading = self._request.state.slot.first_token_seconds or took
        return infill_object(who.model, pieces, usage, self._told, (reading, max(0.0, took - reading)))

    def stream(self, who: Answered, ask: Ask) -> "InfillStream":
        """The answer as it is written."""
        return InfillStream(who, self)


class InfillStream:
    """Of `/infill`: its last event says `stop`, and no other comes behind it."""

    def __init__(self, who: Answered, telling: _Telling) -> None:
        self._who = who
        self._telling = telling
        self._last = Piece(0)
        self._is_silent = telling._told.n_predict == 0

    def begin(self, usage: Usage) -> list[bytes]:
        """Nothing: the first piece is the first event."""
        return []

    def piece(self, piece: Piece, usage: Usage) -> list[bytes]:
        """An event where there is something to tell."""
        self._last = Piece(0, finish=piece.finish, matched=piece.matched)
        return [data(infill_chunk(piece))] if piece.text and not self._is_silent else []

    def end(self, usage: Usage) -> list[bytes]:
        """How it ended, how many tokens there were, and how long they took."""
        told = self._telling.last(self._who, [self._last], usage)
        return [data({"stop": True} | told)]  # whatever fields are asked for: there is no other last word

    def failed(self, error: ApiError) -> list[bytes]:
        """In the words of every other error."""
        return [data(error.body())]
