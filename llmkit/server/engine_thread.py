"""One engine in a thread of its own, beside the event loop that speaks with clients.

The thread owns all of the engine's state. The loop only hands it functions to run between two passes: to take
a request in, to give one up, to change adapters, to read counts. What is written comes back in one call a
pass, however many texts it is for.
"""

import asyncio
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.completion import Piece, TextWriter
from llmkit.engine.engine import Engine
from llmkit.engine.request import Request
from llmkit.engine.text import Text
from llmkit.server.engine_adapters import EngineAdapters
from llmkit.server.engine_load import EngineLoad
from llmkit.server.places import Places
from llmkit.tokens.tokenizer import Tokenizer

T = TypeVar("T")


class EngineStopped(Exception):  # noqa: N818 (a state)
    """The engine's thread is over: nothing more will be written."""


class _Sink:
    """Where the pieces of one text go: a queue of the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, request: Request, writer: TextWriter) -> None:
        self.loop = loop
        self.request = request
        self.writer = writer
        self.number: int | None = None
        self.items: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self.begun = False
        self.given_up = False


class EngineThread:
    """Runs an engine.

    Attributes:
        steps: passes so far.
        adapters: those that requests may name.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        """
        Args:
            engine: nothing else may touch it from now on.
            tokenizer: turns tokens into text.
        """
        self.steps = 0
        self._engine = engine
        self.adapters = EngineAdapters(engine.adapters, self.call)
        self._places = Places()
        self._tokenizer = tokenizer
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._sinks: dict[int, _Sink] = {}
        self._stopping = False
        self._over = False
        self._reading = asyncio.Lock()
        self._step_began: float | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether texts are still being written."""
        return self._thread.is_alive()

    @property
    def guesses(self) -> bool:
        """Whether tokens are guessed ahead."""
        return self._engine.speculation() is not None

    @property
    def step_seconds(self) -> float:
        """How long the present pass has taken so far; 0 between passes."""
        began = self._step_began
        return 0.0 if began is None else time.monotonic() - began

    def load(self) -> EngineLoad:
        """Figures of this moment; they are read while the thread goes on, each whole by itself."""
        engine, counts = self._engine, self._engine.counts
        running = len(engine.working)
        return EngineLoad(
            running=running,
            max_texts=engine.max_texts,
            waiting=max(0, len(self._sinks) - running),
            blocks=engine.pool.num_blocks,
            free_blocks=engine.pool.num_free,
            passes=counts.passes,
            computed_tokens=counts.computed_tokens,
            cached_tokens=counts.cached_tokens,
            prefill_tokens=counts.prefill_tokens,
            drawn_tokens=counts.drawn_tokens,
            preemptions=counts.restarts,
            proposed_drafts=counts.proposed_drafts,
            accepted_drafts=counts.accepted_drafts,
            offloaded_blocks=counts.offloaded_blocks,
            restored_blocks=counts.restored_blocks,
        )

    def texts(self) -> dict[int, Text]:
        """Those at work, by their places; only to look at: the thread goes on with them meanwhile."""
        return self._places.given(self._engine.working)

    async def stream(self, request: Request, *, shown: Collection[int] = ()) -> AsyncGenerator[Piece]:
        """The pieces of a text as they are written; the last has the whole, without its tokens.

        However this ends, the engine gives the text up, if it is not complete, before its next pass.

        Args:
            request: what to write.
            shown: special tokens that come out as text, which others do not.

        Raises:
            UsageError, DataError, ResourceError: see `Engine.submit`; also what went wrong in a pass.
            EngineStopped: the thread is over.
        """
        writer = TextWriter(0, self._tokenizer, request, shown=shown, keeps=False)
        sink = _Sink(asyncio.get_running_loop(), request, writer)
        try:
            await self.call(lambda: self._submit(sink))
            while True:
                item = await sink.items.get()
                if isinstance(item, Exception):
                    raise item
                yield item
                if item.completion is not None:
                    return
        finally:
            sink.given_up = True
            self._inbox.put(lambda: self._give_up(sink))

    async def hidden_sums(self, rows: Sequence[Sequence[int]], skipped: Sequence[int]) -> NDArray[np.float64]:
        """Hidden states of texts added up, (N, D): a pass at a time, between those of texts that are written.

        Args:
            rows: token ids of each.
            skipped: of each, the first ones that are read and not added.

        Raises:
            EngineStopped: the thread is over.
        """
        reading = self._engine.hidden_sums(rows, skipped)  # reads nothing yet
        whole = False
        while not whole:
            async with self._reading:  # requests take turns
                whole = await self.call(reading.step)
        return reading.sums

    async def call(self, function: Callable[[], T]) -> T:
        """Run a function in the engine's thread, between two passes, and wait for what it returns or raises.

        One that nobody waits for any more is not begun.

        Raises:
            EngineStopped: the thread is over, or ends before the function's turn.
        """
        asked: Future[T] = Future()

        def run() -> None:
            if not asked.set_running_or_notify_cancel():
                return
            try:
                if self._over:
                    raise EngineStopped
                asked.set_result(function())
            except Exception as error:  # the one who asked is told
                asked.set_exception(error)

        if not self.is_alive:
            raise EngineStopped
        self._inbox.put(run)
        if self._over:  # it may have looked for the last time
            raise EngineStopped
        return await asyncio.wrap_future(asked)

    async def stop(self) -> None:
        """End once the texts at work are complete; new ones are for others to refuse."""
        self._inbox.put(self._begin_to_stop)
        await asyncio.to_thread(self._thread.join)

    def abandon(self) -> None:
        """End after the present pass, whatever is at work; does not wait."""

        def give_up_all() -> None:
            for sink in list(self._sinks.values()):
                self._give_up(sink)
            self._stopping = True

        self._inbox.put(give_up_all)

    def _run(self) -> None:
        try:
            while not (self._stopping and self._engine.is_idle):
                self._take(wait=self._engine.is_idle)
                if not self._engine.is_idle:
                    self._step()
        finally:
            self._end()

    def _take(self, *, wait: bool) -> None:
        """Run what was handed in; where there is nothing to write, wait for something."""
        if wait:
            self._inbox.get()()
        while True:
            try:
                function = self._inbox.get_nowait()
            except queue.Empty:
                return
            function()

    def _step(self) -> None:
        self._step_began = time.monotonic()
        events = self._engine.step()
        self._step_began = None
        self.steps += 1
        news: dict[asyncio.AbstractEventLoop, list[tuple[_Sink, Piece | Exception]]] = {}
        for event in events:
            sink = self._sinks.get(event.number)
            if sink is None:
                continue  # it ended with a stop string, in the middle of its right guesses
            item: Piece | Exception
            if event.drawn is None:
                item = event.error or RuntimeError("a text ended without a token")
            else:
                item = sink.writer.push(event.drawn)
                if not sink.begun:
                    sink.begun, item = True, replace(item, cached=event.from_cache)
            if isinstance(item, Exception) or item.completion is not None:
                del self._sinks[event.number]
                self._engine.abort(event.number)
            news.setdefault(sink.loop, []).append((sink, item))
        for loop, items in news.items():
            _tell(loop, items)

    def _submit(self, sink: _Sink) -> None:
        if sink.given_up:
            return
        sink.number = self._engine.submit(sink.request)
        self._sinks[sink.number] = sink

    def _give_up(self, sink: _Sink) -> None:
        if sink.number is not None and self._sinks.pop(sink.number, None) is not None:
            self._engine.abort(sink.number)

    def _begin_to_stop(self) -> None:
        self._stopping = True

    def _end(self) -> None:
        """Nobody waits for what will not come."""
        self._over = True
        for sink in self._sinks.values():
            _tell(sink.loop, [(sink, EngineStopped())])
        self._sinks.clear()
        self._take(wait=False)


def _tell(loop: asyncio.AbstractEventLoop, items: list[tuple[_Sink, Piece | Exception]]) -> None:
    """Put items into their queues, in the loop's own thread."""

    def put() -> None:
        for sink, item in items:
            sink.items.put_nowait(item)

    if not loop.is_closed():
        loop.call_soon_threadsafe(put)
