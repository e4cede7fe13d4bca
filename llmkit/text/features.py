"""What the rules look at in one document: each part is found once, when a rule first asks for it."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from llmkit.text.choose_words import word_table
from llmkit.text.grams import Grams
from llmkit.text.word_table import Words


class Repeats(NamedTuple):
    """Parts of a text that came before, word for word; and how many parts there are in all."""

    number: int
    characters: int
    parts: int


class Features:
    """The parts of a text. Words are those of english/words.py; characters are Unicode code points."""

    def __init__(self, text: str, *, num_words: int | None = None) -> None:
        """num_words: where it is known, as after an edit of white space alone."""
        self.text = text
        if num_words is not None:
            self.num_words = num_words

    @cached_property
    def words(self) -> Words:
        """The words and punctuation marks."""
        return word_table().words(self.text)

    @cached_property
    def num_words(self) -> int:
        """How many words and punctuation marks there are."""
        known: Words | None = self.__dict__.get("words")
        return len(known) if known is not None else word_table().count_words(self.text)

    @cached_property
    def grams(self) -> Grams:
        """The n-grams of words."""
        return Grams(self.words)

    @cached_property
    def chunks(self) -> list[str]:
        """What stands between white space."""
        return self.text.split()

    @cached_property
    def lines(self) -> list[str]:
        """Parts between line breaks of every kind, as str.splitlines has them."""
        return self.text.splitlines()

    @cached_property
    def filled_lines(self) -> list[str]:
        """Parts between newlines that hold more than white space."""
        return [line for line in self.text.split("\n") if line and not line.isspace()]

    @cached_property
    def lower(self) -> str:
        """The text in lower case."""
        return self.text.lower()

    @cached_property
    def paragraph_repeats(self) -> Repeats:
        """Of parts between blank lines: runs of two newlines or more."""
        parts = self.text.strip().split("\n\n")
        if "\n\n\n" in self.text:  # what is left of a longer run leads the next part
            parts = [part for part in (one.lstrip("\n") for one in parts) if part] or [""]
        return repeats(parts)

    @cached_property
    def line_repeats(self) -> Repeats:
        """Of parts between runs of newlines; an empty one at either end counts."""
        text = self.text
        if "\n\n" not in text:
            return repeats(text.split("\n"))
        parts = [line for line in text.split("\n") if line]
        return repeats(parts + [""] * (text.startswith("\n") + text.endswith("\n")))

    @cached_property
    def filled_line_repeats(self) -> Repeats:
        """Of `filled_lines`."""
        return repeats(self.filled_lines)


def repeats(parts: Sequence[str]) -> Repeats:
    """Count the parts that are equal to an earlier one."""
    distinct = set(parts)
    count = len(parts) - len(distinct)
    return Repeats(count, sum(map(len, parts)) - sum(map(len, distinct)) if count else 0, len(parts))
