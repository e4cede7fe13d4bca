"""A grammar that holds an answer and leaves the thoughts before it free, as long as their budget lasts.

The marks around thoughts are tokens of their own. Between them any token can come but those that end the
text; after them, and a line feed if the model likes one, the grammar's alone. Where as many tokens were
thought as may be, the end mark alone can come. An answer that no grammar holds has such a budget too.
"""

from collections.abc import Iterable
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

    begin: int
    end: int
    blanks: frozenset[int]
    """What models like to write between thoughts and answer."""


def marks_of(form: ThoughtForm, tokenizer: Tokenizer) -> Marks | None:
    """The tokens of a form; None where its marks are no single tokens, so that no token ends the thoughts."""
    begin, end = (tokenizer.id_of(mark) for mark in (form.begin, form.end))
    if begin is None or end is None:
        return None
    blanks = [tokenizer.encode(one) for one in _BLANKS]
    return Marks(begin, end, frozenset(ids[0] for ids in blanks if len(ids) == 1))


def after_thoughts(
    grammar: Grammar | None,
    marks: Marks | None,
    place: Place | None,
    *,
    vocab_size: int,
    budget: int | None = None,
) -> Grammar | None:
    """The grammar of a text with thoughts before its answer, where there may be some.

    Args:
        grammar: of the answer; None: it is free, and without a budget so is the text.
        marks: what stands around thoughts; None: they cannot be told apart from an answer that is held.
        place: where the text begins; None: the model has no thoughts.
        vocab_size: of the model.
        budget: tokens that may be thought; None: any number.
    """
    if marks is None or place is None or (grammar is None and budget is None):
        return grammar
    if grammar is not None and place == "after":
        return grammar
    return AfterThoughts(grammar, marks, vocab_size, begun=place == "within", budget=budget)


class AfterThoughts(Grammar):
    """A grammar of an answer, before which there may be thoughts."""

    def __init__(
        self, answer: Grammar | None, marks: Marks, vocab_size: int, *, begun: bool, budget: int | None
    ) -> None:
        """
        Args:
            answer: its grammar; None: it is free.
            marks: what stands around thoughts.
            vocab_size: of the model.
            begun: whether the text begins within them; else the model may begin some.
            budget: tokens that may be thought; None: any number.
        """
        self._answer = answer
        self._marks = marks
        self._width = vocab_size
        self._begun = begun
        self._budget = inf if budget is None else budget

    def start(self, ends: Iterable[int] = ()) -> Matcher:
        """See `Grammar.start`."""
        free = np.ones(self._width, np.bool_)
        if self._answer is None:
            return _Free(_Thoughts(self._marks, free, self._budget, begun=self._begun))
        free[list(frozenset(ends) - {self._marks.end})] = False
        thoughts = _Thoughts(self._marks, free, self._budget, begun=self._begun)
        return _Held(self._answer.start(ends), thoughts, beside=() if self._begun else (self._marks.begin,))


class _Thoughts:
    """Where a text is in its thoughts, and which tokens can come next in them."""

    def __init__(self, marks: Marks, free: NDArray[np.bool_], budget: float, *, begun: bool) -> None:
        self.marks = marks
        self.are_on = begun
        self.free = free
        self._left = budget

    def allowed(self) -> NDArray[np.bool_]:
        """(V,) While they are on."""
        if self._left > 0:
            return self.free
        only = np.zeros_like(self.free)
        only[self.marks.end] = True
        return only

    def consume(self, token: int) -> None:
        """A token of them, or the mark before them."""
        if not self.are_on:
            self.are_on = token == self.marks.begin
        elif token == self.marks.end:
            self.are_on = False
        else:
            self._left -= 1


class _Free(Matcher):
    """Where a text of bounded thoughts and a free answer is. The mark begins some wherever it comes."""

    def __init__(self, thoughts: _Thoughts) -> None:
        self._thoughts = thoughts

    @property
    def is_complete(self) -> bool:
        """See `Matcher`."""
        return False

    def allowed(self) -> NDArray[np.bool_]:
        """See `Matcher`."""
        return self._thoughts.allowed() if self._thoughts.are_on else self._thoughts.free

    def consume(self, token: int) -> None:
        """See `Matcher`."""
        self._thoughts.consume(token)


class _Held(Matcher):
    """Where a text of thoughts and an answer that a grammar holds is."""

    def __init__(self, answer: Matcher, thoughts: _Thoughts, *, beside: Iterable[int]) -> None:
        self._answer = answer
        self._thoughts = thoughts
        self._beside = frozenset(beside)  # can come now beside the grammar's tokens

    @property
    def is_complete(self) -> bool:
        """See `Matcher`."""
        return not self._thoughts.are_on and self._answer.is_complete

    def allowed(self) -> NDArray[np.bool_]:
        """See `Matcher`."""
        if self._thoughts.are_on:
            return self._thoughts.allowed()
        mask = self._answer.allowed()
        if self._beside:
            mask = mask.copy()
            mask[list(self._beside)] = True
        return mask

    def consume(self, token: int) -> None:
        """See `Matcher`."""
        beside, self._beside = self._beside, frozenset()
        if self._thoughts.are_on:
            self._thoughts.consume(token)
            self._beside = frozenset() if self._thoughts.are_on else self._thoughts.marks.blanks
        elif token in beside and token == self._thoughts.marks.begin:
            self._thoughts.consume(token)
        elif token not in beside or self._answer.allowed()[token]:
            self._answer.consume(token)
