"""An answer with calls that the server makes: the model writes, tools run, it reads their results, goes on.

Only what the model itself wrote is looked at: a call that stands in a message, a passage or a result is text.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from llmkit.engine.request import Request
from llmkit.engine.seeds import derive_seed
from llmkit.server.answer import Piece, ToolCall
from llmkit.server.ask import Ask, ToolChoice
from llmkit.server.errors import ApiError
from llmkit.server.gate import Caller, Slot
from llmkit.server.served import Prepared, Served
from llmkit.server.tool_bench import ToolBench

_SOON = 0.1
"""Seconds until there may be room again, where nothing is known."""
Write = Callable[[int, Request, Prepared], AsyncGenerator[Piece]]
"""One text of an answer, by its index, piece by piece; the request is one of those that were prepared."""


class ToolRounds:
    """How the answers of one request are written."""

    def __init__(
        self, first: Prepared, served: Served, bench: ToolBench, caller: Caller, slot: Slot, write: Write
    ) -> None:
        """
        Args:
            first: the request, with the bench's functions.
            served: the model.
            bench: runs calls.
            caller: who asks.
            slot: where what is read is counted.
            write: writes one text.
        """
        self._first = first
        self._ask = first.ask
        self._served = served
        self._bench = bench
        self._caller = caller
        self._slot = slot
        self._write = write

    async def answer(self, index: int, first: Request) -> AsyncGenerator[Piece]:
        """The pieces of an answer, as those of one text: it ends with the first text that calls nothing.

        All its texts together have the tokens that the request gives to one.

        Args:
            index: of the answer.
            first: its first text.

        Raises:
            ApiError: the engine could not; or results leave no room for an answer.
        """
        messages, request, prepared = list(self._ask.messages), first, self._first
        allowed = tuple(one["function"]["name"] for one in self._ask.tools)
        done = drawn = thought_tokens = 0
        gap = thought_gap = ""
        while True:
            text, thought, calls, last = "", "", list[ToolCall](), Piece(index)
            async with aclosing(self._write(index, request, prepared)) as pieces:
                async for piece in pieces:
                    drawn += piece.drawn
                    thought_tokens += piece.drawn * piece.thinking
                    calls += piece.calls
                    if piece.text and gap:
                        piece, gap = replace(piece, text=gap + piece.text), ""
                    if piece.thought and thought_gap:
                        piece, thought_gap = replace(piece, thought=thought_gap + piece.thought), ""
                    text += piece.text
                    thought += piece.thought
                    last = replace(piece, calls=())
                    if piece.finish is None:
                        yield last
            if last.finish != "tool_calls":
                yield last
                return
            yield replace(last, finish=None, matched=None)
            asked, results, executed = await self._bench.run(calls, done, allowed)
            self._slot.tool_calls += len(executed)
            yield Piece(index, executed=executed)
            begun = "" if done else self._ask.prefill
            said = {"role": "assistant", "content": begun + text.removeprefix("\n"), "tool_calls": asked}
            messages += [said | _thought(thought), *results]
            done += len(calls)
            gap = "\n" if text or gap else ""
            thought_gap = "\n" if thought or thought_gap else ""
            if drawn >= first.sampling.max_tokens:
                self._slot.finished = "length"
                yield Piece(index, finish="length")
                return
            prepared = await self._next(first, messages, done, drawn, thought_tokens)
            request = prepared.requests[0]

    async def _next(
        self, first: Request, messages: list[dict[str, Any]], done: int, drawn: int, thought_tokens: int
    ) -> Prepared:
        """The text after some calls. With none left, it is told of no function."""
        sampling = replace(
            first.sampling,
            max_tokens=first.sampling.max_tokens - drawn,
            seed=derive_seed(first.sampling.seed, f"call {done}"),
        )
        budget = self._ask.thinking_budget
        ask = replace(
            self._ask,
            thinking_budget=None if budget is None else max(0, budget - thought_tokens),
            messages=tuple(messages),
            prefill="",
            sampling=sampling,
            tool_choice=ToolChoice("auto" if done < self._bench.max_calls else "none"),
            seed_given=True,
        )
        prepared = await self._prepared(ask)
        self._slot.usage.prompt_tokens += prepared.prompt_tokens
        return prepared

    async def _prepared(self, ask: Ask) -> Prepared:
        """The next prompt: where too many wait to be encoded, it waits, as its functions have run already."""
        while True:
            try:
                return await self._served.prepare(ask, self._caller)
            except ApiError as error:
                if error.code != "queue_full":
                    raise
                await asyncio.sleep(error.retry_after or _SOON)


def _thought(thought: str) -> dict[str, str]:
    """What was thought before some calls, as a key of their message."""
    return {"reasoning_content": thought.removeprefix("\n")} if thought else {}
