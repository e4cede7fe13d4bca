"""Answers together: pieces in turns, a failure ends all, and a stream always has a last word."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.server.answer import Answered, Piece, Usage
from llmkit.server.ask import Ask
from llmkit.server.errors import ApiError
from llmkit.server.gate import Slot
from llmkit.server.stream import ChatStream, CompletionStream, together, told

WHO = Answered("id", 0, "m", None)
ASK = Ask(kind="text", model="m", sampling=SamplingConfig(), texts=("a",), stream_usage=True)


async def answer(index: int, words: list[str | Exception], closed: list[int]) -> AsyncGenerator[Piece]:
    try:
        for word in words:
            await asyncio.sleep(0)
            if isinstance(word, Exception):
                raise word
            yield Piece(index, word)
    finally:
        closed.append(index)


async def texts(answers: list[AsyncGenerator[Piece]]) -> list[str]:
    return [piece.text async for piece in together(answers)]


def test_pieces_of_several_answers_come_in_turns() -> None:
    closed: list[int] = []
    pieces = asyncio.run(texts([answer(0, ["a", "b"], closed), answer(1, ["c", "d"], closed)]))
    assert sorted(pieces) == ["a", "b", "c", "d"] and pieces.index("c") < pieces.index("b")
    assert sorted(closed) == [0, 1]


def test_when_one_answer_fails_the_others_are_given_up() -> None:
    closed: list[int] = []
    endless: list[str | Exception] = ["x"] * 10_000
    with pytest.raises(ApiError):
        asyncio.run(texts([answer(0, endless, closed), answer(1, [ApiError(400, "no")], closed)]))
    assert sorted(closed) == [0, 1]


def test_when_their_time_is_over_answers_are_given_up_with_a_last_word() -> None:
    closed: list[int] = []

    async def silent() -> AsyncGenerator[Piece]:
        try:
            yield Piece(1, "a")
            await asyncio.Event().wait()
        finally:
            closed.append(1)

    async def go() -> list[bytes]:
        over, sent = asyncio.Event(), []
        pieces = together([answer(0, ["b"], closed), silent()], over)
        async for one in told(CompletionStream(WHO, replace(ASK, texts=("a", "b"))), pieces, Slot()):
            sent.append(one)
            if len(sent) == 2:
                over.set()
        return sent

    sent = asyncio.run(go())
    assert len(sent) == 3 and b'"code":"draining"' in sent[-1] and sorted(closed) == [0, 1]


def test_when_the_client_leaves_its_answers_are_over_before_its_place_is_free() -> None:
    closed: list[int] = []

    async def go() -> list[int]:
        endless: list[str | Exception] = ["x"] * 10_000
        pieces = together([answer(0, endless, closed), answer(1, endless, closed)])
        events = told(CompletionStream(WHO, ASK), pieces, Slot())
        await anext(events)
        for _ in range(200):  # until the queue is full, and both wait for room in it
            await asyncio.sleep(0)
        kept = [pieces, events]  # so that nothing is closed for want of a reference
        await events.aclose()
        return closed[:] if kept else []

    assert sorted(asyncio.run(go())) == [0, 1]


@pytest.mark.parametrize("error", [ApiError(503, "full"), RuntimeError("a secret")])
def test_a_stream_that_fails_says_so_and_is_not_done(error: Exception) -> None:
    slot = Slot()

    async def events() -> list[bytes]:
        pieces = together([answer(0, ["a", error], [])])
        return [one async for one in told(CompletionStream(WHO, ASK), pieces, slot)]

    sent = asyncio.run(events())
    code = None if isinstance(error, ApiError) else "internal_error"
    assert (slot.finished, slot.error) == ("error", code)
    assert b'"error"' in sent[-1] and b"secret" not in sent[-1] and b"[DONE]" not in b"".join(sent)


def test_a_chat_opens_each_answer_with_its_role_and_empty_pieces_are_no_events() -> None:
    ask = Ask(kind="chat", model="m", sampling=SamplingConfig(samples=2), messages=({"role": "user"},))
    stream = ChatStream(WHO, ask)
    assert len(stream.begin(Usage())) == 2 and all(b'"assistant"' in one for one in stream.begin(Usage()))
    assert stream.piece(Piece(0), Usage()) == []
    assert stream.end(Usage()) == [b"data: [DONE]\n\n"]
