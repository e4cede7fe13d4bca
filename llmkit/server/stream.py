"""Server-sent events: answers while they are written.

A stream that only closes looks like a complete text to the openai SDK: every one of ours ends with its last
word, `[DONE]` or the like, or with an error event.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

from llmkit.server.answer import Answered, Piece, Usage
from llmkit.server.ask import Ask
from llmkit.server.ending import draining
from llmkit.server.errors import ApiError, failed_inside
from llmkit.server.gate import Slot
from llmkit.server.sse import DONE, data
from llmkit.server.wire.chat import chat_chunk, chat_role_chunk, chat_usage_chunk
from llmkit.server.wire.completions import completion_chunk, completion_usage_chunk


class Dialect(Protocol):
    """How an endpoint tells a stream."""

    def begin(self, usage: Usage) -> list[bytes]:
        """Before anything is written."""

    def piece(self, piece: Piece, usage: Usage) -> list[bytes]:
        """What is new."""

    def end(self, usage: Usage) -> list[bytes]:
        """After the last piece."""

    def failed(self, error: ApiError) -> list[bytes]:
        """In the place of what will not come."""


class CompletionStream:
    """Of `/v1/completions`."""

    usage_chunk = staticmethod(completion_usage_chunk)

    def __init__(self, who: Answered, ask: Ask) -> None:
        self._who = who
        self._ask = ask

    def begin(self, usage: Usage) -> list[bytes]:
        """Nothing: the first piece is the first event."""
        return []

    def piece(self, piece: Piece, usage: Usage) -> list[bytes]:
        """An event where there is something to tell."""
        if not (piece.text or piece.scores or piece.finish):
            return []
        told = usage if self._ask.continuous_usage else None
        return [data(completion_chunk(self._who, piece, told))]

    def end(self, usage: Usage) -> list[bytes]:
        """How many tokens there were, where that was asked for."""
        last = [data(self.usage_chunk(self._who, usage))] if self._ask.stream_usage else []
        return [*last, DONE]

    def failed(self, error: ApiError) -> list[bytes]:
        """The SDK raises it."""
        return [data(error.body())]


class ChatStream(CompletionStream):
    """Of `/v1/chat/completions`, which ends as that of completions does."""

    usage_chunk = staticmethod(chat_usage_chunk)

    def begin(self, usage: Usage) -> list[bytes]:
        """The role, once an answer."""
        return [data(chat_role_chunk(self._who, index)) for index in range(self._ask.num_answers)]

    def piece(self, piece: Piece, usage: Usage) -> list[bytes]:
        """An event where there is something to tell."""
        told = (piece.thought, piece.text, piece.calls, piece.executed, piece.scores, piece.finish)
        if not any(told):
            return []
        return [data(chat_chunk(self._who, piece, usage if self._ask.continuous_usage else None))]


async def together(
    answers: Sequence[AsyncGenerator[Piece]], over: asyncio.Event | None = None
) -> AsyncGenerator[Piece]:
    """The pieces of several answers as they come. When one fails, the others are given up.

    Args:
        answers: each its own pieces.
        over: set when their time is over; None: whoever waits for them gives them up.

    Raises:
        ApiError: as an answer does; `draining` where it is over.
    """
    pieces: asyncio.Queue[Piece | Exception | None] = asyncio.Queue(64)

    async def pump(answer: AsyncGenerator[Piece]) -> None:
        try:
            async with aclosing(answer):
                async for piece in answer:
                    await pieces.put(piece)
            await pieces.put(None)
        except Exception as error:  # raised below, where somebody listens
            await pieces.put(error)

    async def end(over: asyncio.Event) -> None:
        await over.wait()
        await pieces.put(draining())

    tasks = [asyncio.create_task(pump(answer)) for answer in answers]
    left = len(tasks)
    if over is not None:
        tasks.append(asyncio.create_task(end(over)))
    try:
        while left:
            item = await pieces.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def told(dialect: Dialect, pieces: AsyncGenerator[Piece], slot: Slot) -> AsyncGenerator[bytes]:
    """Events of a stream, to its last word.

    Args:
        dialect: of the endpoint.
        pieces: of all its answers; see `together`.
        slot: filled in by whoever makes the pieces; told here what breaks them off.
    """
    usage = slot.usage
    for one in dialect.begin(usage):
        yield one
    try:
        async with aclosing(pieces):  # a client that leaves ends its texts now, not at the next collection
            async for piece in pieces:
                for one in dialect.piece(piece, usage):
                    yield one
    except ApiError as error:
        broken: ApiError | None = error
    except Exception:
        logging.getLogger("llmkit.serve").exception("a stream failed")
        broken = failed_inside()
    else:
        broken = None
    if broken is not None:
        slot.broke(broken.code)
    for one in dialect.end(usage) if broken is None else dialect.failed(broken):
        yield one
