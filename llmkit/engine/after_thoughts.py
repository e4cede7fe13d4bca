"""A grammar that holds an answer and leaves the thoughts before it free, as long as their budget lasts.

Thoughts end with a token of its own. Until it comes any token can but those that end the text; after it, and
a line feed if the model likes one, the grammar's alone. Where as many tokens were thought as may be, the end
mark alone can come. An answer that no grammar holds has such a budget too.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.grammar import Grammar, Matcher
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.thoughts import Place, ThoughtForm

_BLANKS = ("\n", "\n\n", " ")


@dataclass(frozen=True)
class Marks:
    """Tokens around thoughts."""

    begin: tuple[int, ...]
    end: int
    then: tuple[int, ...] = ()
    """What comes between thoughts and what follows them."""
    answer: tuple[int, ...] = ()
    """What comes before an answer."""
    blanks: frozenset[int] = frozenset()
    """What models like to write after thoughts, where nothing must come."""

    @property
    def tells(self) -> int:
        """At which token of `begin` it is no answer that begins."""
        pairs = enumerate(zip(self.begin, self.answer, strict=False))
        return next((place for place, (thought, answer) in pairs if thought != answer), 0)


def marks_of(form: ThoughtForm, tokenizer: Tokenizer) -> Marks | None:
    """The tokens of a form; None where a mark begins or ends with no token of its own, so that it may be
    written in several ways.
    """
    whole, end = tokenizer.id_of(form.begin), tokenizer.id_of(form.end)
    begin = tuple(tokenizer.encode(form.begin)) if whole is None else (whole,)
    if end is None or not {begin[0], begin[-1]} <= {whole, *form.shown}:
        return None
    then, answer = (tuple(tokenizer.encode(mark)) for mark in (form.then, form.answer))
    blanks = [] if then else [tokenizer.encode(one) for one in _BLANKS]
    return Marks(begin, end, then, answer, frozenset(ids[0] for ids in blanks if len(ids) == 1))


def after_thoughts(
    grammar: Grammar | None,
    marks: Marks | None,
    place: Place | None,
    *,
    vocab_size: int,
    budget: int | None = None,
    headed: bool = False,
) -> Grammar | None:
    """The grammar of a text with thoughts before its answer, where there may be some.

    Args:
        grammar: of the answer; None: it is free, and without a budget so is the text.
        marks: what stands around thoughts; None: they cannot be told apart from an answer that is held.
        place: where the text begins; None: the model has no thoughts.
        vocab_size: of the model.
        budget: tokens that may be thought; None: any number.
        headed: whether what comes before an answer is part of its grammar.
    """
    if marks is None or place is None or (grammar is None and budget is None):
        return grammar
    if grammar is not None and place == "after":
        return grammar
    return AfterThoughts(
        grammar,
        marks,
        vocab_size,
        begun=place == "within",
        budget=budget,
        header=() if headed else marks.answer,
    )


class AfterThoughts:
    """A Grammar of an answer, before which there may be thoughts."""

    def __init__(
        self,
        answer: Grammar | None,
        marks: Marks,
        vocab_size: int,
        *,
        begun: bool,
        budget: int | None,
        header: tuple[int, ...],
    ) -> None:
        """
        Args:
            answer: its grammar; None: it is free.
            marks: what stands around thoughts.
            vocab_size: of the model.
            begun: whether the text begins within them; else the model may begin some.
            budget: tokens that may be thought; None: any number.
            header: what comes before what the grammar holds.
        """
        self._answer = answer
        self._marks = marks
        self._width = vocab_size
        self._begun = begun
        self._budget = inf if budget is None else budget
        self._header = header

    def start(self, ends: Iterable[int] = ()) -> Matcher:
        """See `Grammar.start`."""
        ends = frozenset(ends)
        free = np.ones(self._width, np.bool_)
        if self._answer is not None:
            free[list(ends - {self._marks.end})] = False
        thoughts = _Thoughts(self._marks, free, self._budget, begun=self._begun)
        answer = self._answer
        if answer is None:
            return _Free(thoughts)
        return _Held(thoughts, lambda lead: _Led((*lead, *self._header), answer.start(ends), self._width))


class _Thoughts:
    """Where a text is in its thoughts, and which tokens can come next in them."""

    def __init__(self, marks: Marks, free: NDArray[np.bool_], budget: float, *, begun: bool) -> None:
        self.marks = marks
        self.are_on = begun
        self.are_spent = False  # the budget went, and they have ended
        self.num_begun = 0  # tokens of their begin mark that have come
        self.free = free
        self._left = budget

    @property
    def next_of_begin(self) -> int:
        """The token that their begin mark goes on with."""
        return self.marks.begin[self.num_begun]

    def allowed(self) -> NDArray[np.bool_]:
        """(V,) While they are on."""
        return self.free if self._left > 0 else _only(self.marks.end, len(self.free))

    def consume(self, token: int) -> None:
        """Any token of the text."""
        if not self.are_on:
            is_next = token == self.next_of_begin
            self.num_begun = self.num_begun + 1 if is_next else int(token == self.marks.begin[0])
            self.are_on = self.num_begun == len(self.marks.begin)
        elif token == self.marks.end:
            self.are_on, self.num_begun, self.are_spent = False, 0, self._left <= 0
        else:
            self._left -= 1


class _Free:
    """A Matcher: where a text of bounded thoughts and a free answer is. The mark begins some wherever it
    comes, as long as more may be thought.
    """

    def __init__(self, thoughts: _Thoughts) -> None:
        self._thoughts = thoughts

    @property
    def is_complete(self) -> bool:
        """See `Matcher`."""
        return False

    def allowed(self) -> NDArray[np.bool_]:
        """See `Matcher`."""
        thoughts = self._thoughts
        if thoughts.are_on:
            return thoughts.allowed()
        if not thoughts.are_spent or thoughts.num_begun != thoughts.marks.tells:
            return thoughts.free
        mask = thoughts.free.copy()
        mask[thoughts.next_of_begin] = False
        return mask

    def consume(self, token: int) -> None:
        """See `Matcher`."""
        self._thoughts.consume(token)


class _Held:
    """A Matcher: where a text of thoughts and an answer that a grammar holds is."""

    def __init__(self, thoughts: _Thoughts, answer: Callable[[tuple[int, ...]], Matcher]) -> None:
        """
        Args:
            thoughts: that have begun, or may now.
            answer: starts one, after tokens that come before it.
        """
        self._thoughts = thoughts
        self._start = answer
        self._answer = None if thoughts.are_on else answer(())  # None: the text is no answer yet
        self._may_begin = not thoughts.are_on
        self._blanks = frozenset[int]()  # can come now beside the answer's tokens

    @property
    def is_complete(self) -> bool:
        """See `Matcher`."""
        return not self._thoughts.are_on and self._answer is not None and self._answer.is_complete

    def allowed(self) -> NDArray[np.bool_]:
        """See `Matcher`."""
        thoughts = self._thoughts
        if thoughts.are_on:
            return thoughts.allowed()
        if self._answer is None:
            return _only(thoughts.next_of_begin, len(thoughts.free))
        mask = self._answer.allowed()
        if self._may_begin or self._blanks:
            mask = mask.copy()
            mask[[*self._blanks, *[thoughts.next_of_begin] * self._may_begin]] = True
        return mask

    def consume(self, token: int) -> None:
        """See `Matcher`."""
        if self._thoughts.are_on:
            self._thoughts.consume(token)
            if not self._thoughts.are_on:
                marks = self._thoughts.marks
                self._answer, self._blanks = self._start(marks.then), marks.blanks
            return
        self._blanks = frozenset()
        goes_on = self._answer is not None and bool(self._answer.allowed()[token])
        if self._may_begin:
            begins = token == self._thoughts.next_of_begin
            self._thoughts.consume(token)
            self._may_begin = begins and not self._thoughts.are_on
            if begins and not goes_on:
                self._answer = None
        if goes_on and self._answer is not None:
            self._answer.consume(token)


class _Led:
    """A Matcher of a text that another holds, after tokens that must come first."""

    def __init__(self, lead: Sequence[int], rest: Matcher, width: int) -> None:
        self._lead = list(reversed(lead))
        self._rest = rest
        self._width = width

    @property
    def is_complete(self) -> bool:
        """See `Matcher`."""
        return not self._lead and self._rest.is_complete

    def allowed(self) -> NDArray[np.bool_]:
        """See `Matcher`."""
        return _only(self._lead[-1], self._width) if self._lead else self._rest.allowed()

    def consume(self, token: int) -> None:
        """See `Matcher`."""
        if self._lead:
            self._lead.pop()
        else:
            self._rest.consume(token)


def _only(token: int, width: int) -> NDArray[np.bool_]:
    mask = np.zeros(width, np.bool_)
    mask[token] = True
    return mask
