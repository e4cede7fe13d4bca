"""How fast an engine is: the wait for a first token, prompts read and tokens written a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from llmkit.engine.engine import Engine
from llmkit.engine.request import Event, Request


@dataclass
class Timing:
    """What a meter has seen.

    A pass in which some texts read prompts and others draw tokens is shared out by the tokens it computes.
    """

    texts: int = 0
    """That have a first token."""
    first_seconds: float = 0.0
    """From the request to its first token, over all of them."""
    longest_first_seconds: float = 0.0
    prefill_tokens: int = 0
    """Of prompts, computed: without what the cache had, again where a text started over."""
    prefill_seconds: float = 0.0
    decode_tokens: int = 0
    """Drawn, but for each text's first, which comes with the prompt's last pass."""
    decode_seconds: float = 0.0

    @property
    def mean_first_seconds(self) -> float | None:
        """None where there is no text."""
        return self.first_seconds / self.texts if self.texts else None

    @property
    def prefill_tokens_per_second(self) -> float | None:
        """None where nothing was read."""
        return self.prefill_tokens / self.prefill_seconds if self.prefill_seconds else None

    @property
    def decode_tokens_per_second(self) -> float | None:
        """Of all texts at work together; None where no text has a second token."""
        return self.decode_tokens / self.decode_seconds if self.decode_seconds else None


class Meter:
    """An engine with a stopwatch; `complete_all` takes it in the engine's place.

    Attributes:
        engine: what is measured.
        timing: so far.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.perf_counter) -> None:
        """clock: seconds from any beginning."""
        self.engine = engine
        self.timing = Timing()
        self._clock = clock
        self._begun: dict[int, float] = {}

    @property
    def max_texts(self) -> int:
        """Texts at work at once."""
        return self.engine.max_texts

    @property
    def is_idle(self) -> bool:
        """Whether there is no text."""
        return self.engine.is_idle

    def submit(self, request: Request) -> int:
        """See `Engine.submit`; the wait for the first token begins."""
        begin = self._clock()
        number = self.engine.submit(request)
        self._begun[number] = begin
        return number

    def abort(self, number: int) -> None:
        """See `Engine.abort`."""
        self._begun.pop(number, None)
        self.engine.abort(number)

    def step(self) -> list[Event]:
        """See `Engine.step`."""
        before, begin = replace(self.engine.counts), self._clock()
        events = self.engine.step()
        end, timing, now = self._clock(), self.timing, self.engine.counts
        firsts = 0
        for event in events:
            begun = self._begun.pop(event.number, None)
            if begun is not None and event.drawn is not None:
                firsts += 1
                timing.first_seconds += end - begun
                timing.longest_first_seconds = max(timing.longest_first_seconds, end - begun)
        timing.texts += firsts
        timing.decode_tokens += now.drawn_tokens - before.drawn_tokens - firsts
        read = now.prefill_tokens - before.prefill_tokens
        timing.prefill_tokens += read
        computed = now.computed_tokens - before.computed_tokens
        if computed:  # nothing where the pass failed
            timing.prefill_seconds += (end - begin) * read / computed
            timing.decode_seconds += (end - begin) * (computed - read) / computed
        return events
