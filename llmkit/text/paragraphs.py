"""mC4's page rule (2010.11934): a page must have three long lines."""

from dataclasses import dataclass
from functools import partial
from heapq import nlargest
from typing import ClassVar

from llmkit.text.features import Features
from llmkit.text.rule import MeasuredRule, Measurement


@dataclass(frozen=True, kw_only=True)
class C4Paragraphs(MeasuredRule):
    """Drops a page whose third longest line is short, or that has fewer than three."""

    kind: ClassVar[str] = "c4-paragraphs"
    min_paragraphs: int = 3
    min_characters: float = 200

    def measurements(self) -> tuple[Measurement, ...]:
        """One: the length of the n-th longest line."""
        meaning = f"characters of the {self.min_paragraphs} longest lines' shortest"
        check = self.named("long-lines", meaning, low=self.min_characters)
        return (Measurement(check, partial(_nth_longest, self.min_paragraphs)),)


def _nth_longest(n: int, document: Features) -> float:
    lengths = nlargest(n, map(len, document.text.split("\n")))
    return lengths[-1] if len(lengths) == n else 0.0
