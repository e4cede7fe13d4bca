"""A text as it is written: pieces of text that come with the tokens, cut at stop strings, and the whole."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from llmkit.engine.request import Drawn, Event, FinishReason, Request
from llmkit.engine.stopping import StopStrings
from llmkit.errors import MissingError
from llmkit.tokens.stream import StreamDecoder
from llmkit.tokens.tokenizer import Tokenizer


class TextEngine(Protocol):
    """What writes tokens: an Engine, or a Meter before one."""

    @property
    def is_idle(self) -> bool:
        """Whether there is no text."""

    @property
    def max_texts(self) -> int:
        """Texts at work at once."""

    def submit(self, request: Request) -> int:
        """See `Engine.submit`."""

    def abort(self, number: int) -> None:
        """See `Engine.abort`."""

    def step(self) -> list[Event]:
        """See `Engine.step`."""


@dataclass(frozen=True)
class Completion:
    """A text that is complete."""

    text: str | None
    """None where there is no tokenizer to write it with."""
    drawn: tuple[Drawn, ...]
    """Every token, that which ended the text and those of a stop string included; none if none is kept."""
    finish: FinishReason


@dataclass(frozen=True)
class Piece:
    """Some of a text: what is certain now, often nothing at all."""

    index: int
    """Of the request."""
    text: str
    """Whole characters, nothing of a stop string."""
    completion: Completion | None
    """The whole, with the last piece."""
    token: Drawn | None = None
    """That it came with."""
    decoded: int = 0
    """Characters that the tokens up to this one make, whether they may be shown yet or not."""
    matched: str | None = None
    """The stop string that ended the text."""
    cached: int = 0
    """Tokens of the prompt that were not computed; with the first piece."""


def complete_all(
    engine: TextEngine,
    requests: Iterable[Request | None],
    tokenizer: Tokenizer | None,
    *,
    ordered: bool = True,
    shown: Collection[int] = (),
) -> Iterator[Piece]:
    """Write many texts, as many at once as the engine takes, and give out each as it comes.

    Args:
        engine: writes the tokens; has no other text meanwhile.
        requests: what to write, read as there is room for more; None where nothing has come yet, which is for
            while the engine has work.
        tokenizer: turns them into text; None: there is none, and ids are all that is asked for.
        ordered: whether each text comes out whole before the next, in the order of the requests; else pieces
            of several come in turns.
        shown: special tokens that come out as text, which others do not.

    Raises:
        MissingError: stop strings without a tokenizer.
        UsageError, DataError, ResourceError: see `Engine.submit`; also scores that are not numbers, and
            whatever the model's pass raises. What was wrong with a request, or raised by `requests`, comes
            after the texts before it.
    """
    jobs = _Jobs(engine, requests, tokenizer, shown)
    held: dict[int, list[Piece]] = {}
    turn = 0
    try:
        while jobs.fill() or not engine.is_idle:
            for piece in jobs.step():
                if not ordered:
                    yield piece
                    continue
                held.setdefault(piece.index, []).append(piece)
            while ordered and turn in held:
                pieces = held.pop(turn)
                yield from pieces
                if pieces[-1].completion is None:
                    break
                turn += 1
        if jobs.error is not None:
            raise jobs.error
    finally:
        jobs.abort()


class _Jobs:
    """Requests on their way through the engine."""

    def __init__(
        self,
        engine: TextEngine,
        requests: Iterable[Request | None],
        tokenizer: Tokenizer | None,
        shown: Collection[int],
    ) -> None:
        self.error: Exception | None = None
        self._engine = engine
        self._requests = iter(requests)
        self._tokenizer = tokenizer
        self._shown = shown
        self._writers: dict[int, TextWriter] = {}
        self._count = 0

    def fill(self) -> bool:
        """Take in requests while there is room; whether one was taken."""
        before = self._count
        while self.error is None and len(self._writers) < self._engine.max_texts:
            try:
                request = next(self._requests, None)
                if request is None:
                    break
                if self._tokenizer is None and request.sampling.stop:
                    raise MissingError("stop strings need a tokenizer", hint="name one with -t TOKENIZER")
                number = self._engine.submit(request)
            except Exception as error:  # texts before it are written first
                self.error = error
                break
            self._writers[number] = TextWriter(self._count, self._tokenizer, request, shown=self._shown)
            self._count += 1
        return self._count > before

    def step(self) -> Iterator[Piece]:
        """The pieces of one step of the engine."""
        for event in self._engine.step():
            writer = self._writers.get(event.number)
            if writer is None:
                continue  # the text ended with a stop string, in the middle of its right guesses
            if event.drawn is None:
                self.error = event.error
                del self._writers[event.number]
                self._give_up(writer.index)
                continue
            piece = writer.push(event.drawn)
            if piece.completion is not None:
                del self._writers[event.number]
                self._engine.abort(event.number)
            yield piece

    def abort(self) -> None:
        """Give up what is not complete."""
        self._give_up(-1)

    def _give_up(self, index: int) -> None:
        """Those after one of the requests."""
        for number in [number for number, writer in self._writers.items() if writer.index > index]:
            del self._writers[number]
            self._engine.abort(number)


class TextWriter:
    """Text out of tokens, up to the first stop string.

    Attributes:
        decoded: characters that the tokens so far have made certain, stop strings or not.
    """

    def __init__(
        self,
        index: int,
        tokenizer: Tokenizer | None,
        request: Request,
        *,
        shown: Collection[int] = (),
        keeps: bool = True,
    ) -> None:
        """
        Args:
            index: of the request, as pieces tell it.
            tokenizer: turns tokens into text; None: there is none.
            request: what is written.
            shown: special tokens that come out as text, which others do not.
            keeps: whether the whole has its tokens: with scores, one may be some kilobytes.
        """
        self.decoded = 0
        self.index = index
        self._decoder = None
        if tokenizer is not None:
            self._decoder = StreamDecoder(tokenizer, after=request.read, skip_special=True, shown=shown)
        self._stops = StopStrings(request.sampling.stop)
        self._shows_stop = request.shows_stop
        self._unstopped = request.min_tokens
        """Tokens to come in which no stop string is looked for."""
        self._keeps = keeps
        self._drawn: list[Drawn] = []
        self._pieces: list[str] = []

    def push(self, token: Drawn) -> Piece:
        """What is certain with this token."""
        if self._keeps:
            self._drawn.append(token)
        finish = token.finish
        if self._decoder is not None:
            text = self._decoder.push(token.id) if token.is_text else ""
            if finish is not None:
                text += self._decoder.flush()
            self.decoded += len(text)
            if not token.given:  # a prompt may have what ends a text
                self._unstopped -= 1
                if self._unstopped < 0:
                    text = self._stops.push(text)
            if self._stops.hit is not None:
                finish = "stop"
                text += self._stops.hit if self._shows_stop else ""
            elif finish is not None:
                text += self._stops.flush()
            self._pieces.append(text)
        piece = self._pieces[-1] if self._pieces else ""
        if finish is None:
            return Piece(self.index, piece, None, token, self.decoded)
        whole = None if self._decoder is None else "".join(self._pieces)
        done = Completion(whole, tuple(self._drawn), finish)
        return Piece(self.index, piece, done, token, self.decoded, self._stops.hit)
