"""FineWeb's own quality rule: lists, menus and text that says a line again (2406.17557, section 3.6).

The threshold for the characters of repeated lines is the 0.01 of datatrove's code.
"""

from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import ClassVar

from llmkit.text.features import Features
from llmkit.text.punctuation import TERMINAL
from llmkit.text.ratios import ratio
from llmkit.text.rule import MeasuredRule, Measurement

_LAST = itemgetter(-1)


@dataclass(frozen=True, kw_only=True)
class FinewebQuality(MeasuredRule):
    """Drops lists and menus; None is no limit."""

    kind: ClassVar[str] = "fineweb-quality"
    min_stopped_lines: float | None = 0.12
    max_short_lines: float | None = 0.67
    short_line_characters: int = 30
    max_duplicate_line_characters: float | None = 0.01
    max_newlines_per_word: float | None = 0.3

    def measurements(self) -> tuple[Measurement, ...]:
        """In datatrove's order."""
        return (
            Measurement(self.named("lines", "lines with something on them", low=1), _num_lines),
            Measurement(
                self.named("stopped-lines", "share of lines that end a sentence", low=self.min_stopped_lines),
                _stopped_lines,
            ),
            Measurement(
                self.named(
                    "short-lines",
                    f"share of lines of at most {self.short_line_characters} characters",
                    high=self.max_short_lines,
                ),
                partial(_short_lines, self.short_line_characters),
            ),
            Measurement(
                self.named(
                    "duplicate-line-characters",
                    "share of characters in lines said before",
                    high=self.max_duplicate_line_characters,
                ),
                _repeated_characters,
            ),
            Measurement(
                self.named("newlines", "newlines for each word", high=self.max_newlines_per_word), _newlines
            ),
        )


def _num_lines(document: Features) -> float:
    return len(document.filled_lines)


def _stopped_lines(document: Features) -> float:
    lines = document.filled_lines
    return ratio(sum(map(TERMINAL.__contains__, map(_LAST, lines))), len(lines))


def _short_lines(most: int, document: Features) -> float:
    lines = document.filled_lines
    return ratio(sum(map(most.__ge__, map(len, lines))), len(lines))


def _repeated_characters(document: Features) -> float:
    return ratio(document.filled_line_repeats.characters, len(document.text) - document.text.count("\n"))


def _newlines(document: Features) -> float:
    return ratio(document.text.count("\n"), document.num_words)
