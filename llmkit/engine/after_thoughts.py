"""A grammar that holds an answer and leaves the thoughts before it free.

The marks around thoughts are tokens of their own. Between them any token can come but those that end the
text; after them, and a line feed if the model likes one, the grammar's alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

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


def after_thoughts(grammar: Grammar | None, marks: Marks | None, place: Place | None) -> Grammar | None:
    """The grammar of a text with thoughts before its answer, where there may be some.

    Args:
        grammar: of the answer; None: it is free, and so is the text.
        marks: what stands around thoughts; None: they cannot be told apart from an answer that is held.
        place: where the text begins; None: the model has no thoughts.
    """
    if grammar is None or marks is None or place not in ("before", "within"):
        return grammar
    return AfterThoughts(grammar, marks, begun=place == "within")


class AfterThoughts(Grammar):
    """A grammar of an answer, before which there may be thoughts."""

    def __init__(self, grammar: Grammar, marks: Marks, *, begun: bool) -> None:
        """
        Args:
            grammar: of the answer.
            marks: what stands around thoughts.
            begun: whether the text begins within them; else the model may begin some.
        """
        super().__init__(grammar._matcher, grammar._vocab_size)
        self._marks = marks
        self._begun = begun

    def start(self, ends: Iterable[int] = ()) -> Matcher:
        """See `Grammar.start`."""
        return _Answer(super().start(ends), self._marks, begun=self._begun)


class _Answer(Matcher):
    """Where a text of thoughts and an answer is."""

    def __init__(self, answer: Matcher, marks: Marks, *, begun: bool) -> None:
        super().__init__(answer._matcher, answer._vocab_size, answer._ends)
        self._marks = marks
        self._thinking = begun
        self._beside = frozenset(() if begun else (marks.begin,))  # can come now beside the grammar's tokens

    @property
    def is_complete(self) -> bool:
        """See `Matcher`."""
        return not self._thinking and super().is_complete

    def allowed(self) -> NDArray[np.bool_]:
        """See `Matcher`."""
        if self._thinking:
            mask = np.ones(self._vocab_size, np.bool_)
            mask[list(self._ends)] = False
            return mask
        mask = super().allowed()
        if self._beside:
            mask = mask.copy()
            mask[list(self._beside)] = True
        return mask

    def consume(self, token: int) -> None:
        """See `Matcher`."""
        if self._thinking:
            self._thinking = token != self._marks.end
            self._beside = frozenset() if self._thinking else self._marks.blanks
            return
        beside, self._beside = self._beside, frozenset()
        if token in beside and token == self._marks.begin:
            self._thinking = True
        elif token not in beside or super().allowed()[token]:
            super().consume(token)
