"""Functions that a model wants called, found in its text as it comes; tools/forms.py has families' shapes.

The text is read a character at a time, so that it cannot matter how it was cut. What may still become a call
is held back; the readers of calls are generators that take a character at each `yield`.
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
    """Takes a text in pieces, and gives back what is text and what is a call."""

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


Body = Generator[None, str, tuple[FoundCall, ...]]
"""Takes the characters after an opening mark and returns the calls. None: the characters are to be hidden."""


@dataclass(frozen=True)
class Syntax:
    """How calls stand in a text."""

    opens: Mapping[str, Callable[[], Body]]
    """What begins a call anywhere, and what reads on from there."""
    bare: Mapping[str, Callable[[], Body]] = field(default_factory=dict)
    """What begins one only where no text has come yet, but thoughts or calls."""
    closes: tuple[str, ...] = ()
    """What may follow a call and is no text, such as its closing mark."""


class CallFinder:
    """Finds the calls of one text.

    Blanks before the first text, between calls and at the end are dropped where there are calls; everything
    else that is no call comes out as it is.
    """

    def __init__(self, syntax: Syntax, *, most: int | None = None, required: bool = False) -> None:
        """
        Args:
            syntax: how calls stand in the text.
            most: calls to find; what comes after them is dropped. None: all there are.
            required: whether the text can be nothing but calls.
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
                self._body.throw(TextEnded())
            except StopIteration as done:
                self._finish(done.value)
            except (TextEnded, NotACall):
                self._body = None
                if not calls_only:
                    self._say("".join(self._raw))
        elif self._held and not self._after_call and not (cut and calls_only):
            self._say(self._held)
        if not self._num_calls:
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
            self._body.send(char)
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
        self._raw, self._held, self._body = [self._held], "", body()
        try:
            next(self._body)
        except StopIteration as done:
            self._finish(done.value)

    def _finish(self, calls: Iterable[FoundCall]) -> None:
        self._body = None
        found = list(calls)
        if self._most is not None:
            found = found[: self._most - self._num_calls]
        self._calls += found
        self._num_calls += len(found)
        self._after_call = self._after_call or bool(found)
        self._fresh = self._fresh or bool(found)

    def _say(self, text: str) -> None:
        if self._said or not self._num_calls:
            text = self._blank + text
        self._blank = ""
        self._out.append(text)
        self._said = (self._said + text)[-len(THOUGHT_END) :]
        self._after_call = False
        self._fresh = self._said == THOUGHT_END
