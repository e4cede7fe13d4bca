"""Functions that a model wants called, and what it thinks before, found in its text as it comes.

The text is read a character at a time, so that it cannot matter how it was cut. What may still become a call
is held back; the readers of calls and thoughts are generators that take a character at each `yield`.
Families' shapes are in tools/forms.py and tools/thoughts.py.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

THOUGHT_END = "</think>"


@dataclass(frozen=True)
class FoundCall:
    """A function to call."""

    name: str
    arguments: str
    """JSON."""


class CallReader(Protocol):
    """Takes a text in pieces, and gives back what is text, what is a call and what is a thought."""

    @property
    def thinking(self) -> bool:
        """Whether what comes now is thought."""

    def take_thought(self) -> str:
        """What was thought since this was asked last."""

    def push(self, text: str) -> tuple[str, tuple[FoundCall, ...]]:
        """What is certain to be text, and the calls that are complete."""

    def flush(self, *, cut: bool = False) -> tuple[str, tuple[FoundCall, ...]]:
        """What is left when nothing more comes: a call that was begun and never ended is text; another, after
        those that are complete, is dropped.

        Args:
            cut: whether the text was to go on: what may become another call, or was one that had to come, is
                dropped too.
        """


class NotACall(Exception):  # noqa: N818 (an answer, not a fault)
    """What looked like the beginning of a call is text, without its last character."""


class TextEnded(Exception):  # noqa: N818 (an answer, not a fault)
    """Thrown into a reader where the text ends before the call does."""


Body = Generator[str | None, str, tuple[FoundCall, ...]]
"""Takes the characters after an opening mark and returns the calls. What it yields is thought, as far as that
is certain; None: what it reads is no thought."""


@dataclass(frozen=True)
class Syntax:
    """How calls stand in a text."""

    opens: Mapping[str, Callable[[], Body]]
    """What begins a call anywhere, and what reads on from there."""
    bare: Mapping[str, Callable[[], Body]] = field(default_factory=dict)
    """What begins one only where no text has come yet, but thoughts or calls."""
    closes: tuple[str, ...] = ()
    """What may follow a call and is no text, such as its closing mark."""
    told_apart: bool = False
    """Whether thoughts are told apart; else they are text, up to THOUGHT_END."""


class CallFinder:
    """Finds the calls and thoughts of one text.

    Blanks before the first text are dropped where there are calls or thoughts, between calls and at the end
    where there are calls; everything else that is no call and no thought comes out as it is.
    """

    def __init__(
        self, syntax: Syntax, *, most: int | None = None, required: bool = False, begun: Body | None = None
    ) -> None:
        """
        Args:
            syntax: how calls and thoughts stand in the text.
            most: calls to find; what comes after them is dropped. None: all there are.
            required: whether the text can be nothing but calls.
            begun: reads what the text begins with, where the prompt has opened it; None: it has not.
        """
        self._syntax = syntax
        self._most = most
        self._required = required
        self._bodies = dict(syntax.opens)
        self._bodies_at_start = {**syntax.bare, **syntax.opens}
        self._firsts = {mark[0] for mark in (*self._bodies_at_start, *syntax.closes)}
        self._out: list[str] = []
        self._calls: list[FoundCall] = []
        self._num_calls = 0
        self._said = ""  # the end of the text that is out
        self._blank = ""  # comes out before the next text
        self._held = ""  # may become a mark
        self._body: Body | None = None
        self._raw: list[str] = []  # of the call that is being read
        self._after_call = False
        self._fresh = True  # no text yet, or only thoughts and calls
        self._thought: list[str] = []
        self._thinking = self._has_thought = self._has_told = False
        self._gap = ""  # comes out before the next thought
        if begun is not None:
            self._enter(begun)

    @property
    def thinking(self) -> bool:
        """See `CallReader`."""
        return self._thinking

    def take_thought(self) -> str:
        """See `CallReader`."""
        thought = "".join(self._thought)
        self._thought.clear()
        return thought

    def push(self, text: str) -> tuple[str, tuple[FoundCall, ...]]:
        """See `CallReader`."""
        for char in text:
            self._feed(char)
        return self._taken()

    def flush(self, *, cut: bool = False) -> tuple[str, tuple[FoundCall, ...]]:
        """See `CallReader`."""
        calls_only = self._num_calls > 0 or (cut and self._required)
        if self._body is not None:
            try:
                self._tell(self._body.throw(TextEnded()))
                self._finish(())
            except StopIteration as done:
                self._finish(done.value)
            except (TextEnded, NotACall):
                self._body = None
                if not calls_only:
                    self._say("".join(self._raw))
        elif self._held and not self._after_call and not (cut and calls_only):
            self._say(self._held)
        if not self._num_calls and (self._said or not self._has_thought):
            self._out.append(self._blank)
        self._held = self._blank = ""
        return self._taken()

    def _taken(self) -> tuple[str, tuple[FoundCall, ...]]:
        text, calls = "".join(self._out), tuple(self._calls)
        self._out.clear()
        self._calls.clear()
        return text, calls

    def _feed(self, char: str) -> None:
        if self._num_calls == self._most:
            return
        if self._body is None:
            self._look(char)
            return
        try:
            self._tell(self._body.send(char))
        except StopIteration as done:
            self._finish(done.value)
        except NotACall:
            self._body = None
            self._say("".join(self._raw))
            self._look(char)
        else:
            self._raw.append(char)

    def _look(self, char: str) -> None:
        """Outside of calls: does one begin?"""
        if not self._held and char not in self._firsts:
            self._pass(char)
            return
        self._held += char
        while self._held:
            bodies = self._bodies_at_start if self._fresh else self._bodies
            closes = self._syntax.closes if self._after_call else ()
            marks = (*bodies, *closes)
            if any(mark.startswith(self._held) and mark != self._held for mark in marks):
                return
            mark = max((one for one in marks if self._held.startswith(one)), key=len, default="")
            if mark:
                rest, self._held = self._held[len(mark) :], mark
                if mark in bodies:
                    self._begin(bodies[mark])
                else:
                    self._held, self._after_call = "", False
                for char in rest:
                    self._feed(char)
                return
            first, self._held = self._held[0], self._held[1:]
            self._pass(first)

    def _pass(self, char: str) -> None:
        """A character that begins nothing."""
        if char.isspace():
            self._blank += char
        else:
            self._say(char)

    def _begin(self, body: Callable[[], Body]) -> None:
        self._raw, self._held = [self._held], ""
        self._enter(body())

    def _enter(self, body: Body) -> None:
        self._body = body
        try:
            self._tell(next(body))
        except StopIteration as done:
            self._finish(done.value)

    def _tell(self, thought: str | None) -> None:
        self._thinking = thought is not None
        if thought:
            self._thought.append(self._gap + thought)
            self._gap, self._has_told = "", True

    def _finish(self, calls: Iterable[FoundCall]) -> None:
        self._body = None
        if self._thinking:
            self._thinking, self._has_thought, self._blank = False, True, ""
            self._gap = "\n" if self._has_told else ""
        found = list(calls)
        if self._most is not None:
            found = found[: self._most - self._num_calls]
        self._calls += found
        self._num_calls += len(found)
        self._after_call = self._after_call or bool(found)
        self._fresh = self._fresh or bool(found)

    def _say(self, text: str) -> None:
        if self._said or not (self._num_calls or self._has_thought):
            text = self._blank + text
        self._blank = ""
        self._out.append(text)
        self._said = (self._said + text)[-len(THOUGHT_END) :]
        self._after_call = False
        self._fresh = self._said == THOUGHT_END and not self._syntax.told_apart
