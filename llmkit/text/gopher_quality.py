"""Gopher's quality rules (2112.11446, table A1), as datatrove counts them: words are punctuation marks too.

Other readings, by `variant`:

    datatrove    distinct stop words; bullets are • and -; an ellipsis is ... or …
    dclm         every occurrence of a stop word counts; . . . is an ellipsis too
    dolma        the median word length, not the mean; bullets are * and -; an ellipsis is … alone
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from llmkit.text.features import Features
from llmkit.text.ratios import ratio
from llmkit.text.rule import MeasuredRule, Measurement
from llmkit.text.word_table import Fact

Variant = Literal["datatrove", "dclm", "dolma"]
BULLETS = {"datatrove": ("•", "-"), "dclm": ("•", "-"), "dolma": ("*", "-")}
ELLIPSES = {"datatrove": ("...", "…"), "dclm": ("...", "…", ". . ."), "dolma": ("…",)}


@dataclass(frozen=True, kw_only=True)
class GopherQuality(MeasuredRule):
    """Drops what does not look like prose; None is no limit."""

    kind: ClassVar[str] = "gopher-quality"
    variant: Variant = "datatrove"
    min_words: float | None = 50
    max_words: float | None = 100_000
    min_mean_word_length: float | None = 3
    max_mean_word_length: float | None = 10
    max_hashes_per_word: float | None = 0.1
    max_ellipses_per_word: float | None = 0.1
    max_bullet_lines: float | None = 0.9
    max_ellipsis_lines: float | None = 0.3
    min_alphabetic_words: float | None = 0.8
    min_stop_words: float | None = 2

    def measurements(self) -> tuple[Measurement, ...]:
        """In datatrove's order."""
        marks = ELLIPSES[self.variant]
        average, length = ("median", _median_length) if self.variant == "dolma" else ("mean", _mean_length)
        stops = _all_stop_words if self.variant == "dclm" else _distinct_stop_words
        return (
            Measurement(
                self.named("words", "words, signs left out", low=self.min_words, high=self.max_words),
                _num_words,
            ),
            Measurement(
                self.named(
                    f"{average}-word-length",
                    f"{average} characters of a word",
                    low=self.min_mean_word_length,
                    high=self.max_mean_word_length,
                ),
                length,
            ),
            Measurement(
                self.named("hashes", "# for each word", high=self.max_hashes_per_word),
                partial(_per_word, ("#",)),
            ),
            Measurement(
                self.named("ellipses", "ellipses for each word", high=self.max_ellipses_per_word),
                partial(_per_word, marks),
            ),
            Measurement(
                self.named(
                    "bullet-lines", "share of lines that start with a bullet", high=self.max_bullet_lines
                ),
                partial(_bullet_lines, BULLETS[self.variant]),
                partial(_has_few, BULLETS[self.variant], self.max_bullet_lines or 0.0),
            ),
            Measurement(
                self.named(
                    "ellipsis-lines", "share of lines that end with an ellipsis", high=self.max_ellipsis_lines
                ),
                partial(_ellipsis_lines, marks),
                partial(_has_few, marks, 0.0),
            ),
            Measurement(
                self.named("alphabetic-words", "share of words with a letter", low=self.min_alphabetic_words),
                _alphabetic_words,
            ),
            Measurement(
                self.named("stop-words", "stop words, of eight common ones", low=self.min_stop_words), stops
            ),
        )


def _num_words(document: Features) -> float:
    return document.num_words - document.words.count(Fact.SYMBOL)


def _mean_length(document: Features) -> float:
    words = document.words
    signs = int(words.lengths[(words.facts & Fact.SYMBOL) != 0].sum())
    return ratio(int(words.lengths.sum()) - signs, _num_words(document))


def _median_length(document: Features) -> float:
    lengths = document.words.lengths[(document.words.facts & Fact.SYMBOL) == 0]
    return float(np.median(lengths)) if len(lengths) else 0.0


def _per_word(marks: tuple[str, ...], document: Features) -> float:
    return ratio(sum(map(document.text.count, marks)), document.num_words)


def _bullet_lines(bullets: tuple[str, ...], document: Features) -> float:
    lines = document.lines
    return ratio(sum(line.lstrip().startswith(bullets) for line in lines), len(lines))


def _ellipsis_lines(marks: tuple[str, ...], document: Features) -> float:
    lines = document.lines
    return ratio(sum(line.rstrip().endswith(marks) for line in lines), len(lines))


def _has_few(marks: tuple[str, ...], share: float, document: Features) -> bool:
    """There are no more of the marks in the text than lines may begin or end with."""
    text = document.text
    found = sum(map(text.count, marks))
    return not found or found <= share * (text.count("\n") + (not text.endswith("\n")))


def _alphabetic_words(document: Features) -> float:
    return ratio(document.words.count(Fact.ALPHABETIC), document.num_words)


def _distinct_stop_words(document: Features) -> float:
    facts = document.words.facts
    return float((int(np.bitwise_or.reduce(facts)) & Fact.STOP).bit_count()) if len(facts) else 0.0


def _all_stop_words(document: Features) -> float:
    return float(document.words.count(Fact.STOP))
