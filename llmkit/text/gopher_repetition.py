"""Gopher's repetition rules (2112.11446, table A1): lines, paragraphs and n-grams of words that say it again.

Peers agree on the thresholds and count differently, so the way to count is the rule's `variant`:

    datatrove    a repeat is the second occurrence and later ones; n-grams are read from left to right,
                 going on after each repeat; over the characters of the text (FineWeb)
    datamap-rs   every occurrence of what occurs twice; a word inside any such n-gram counts once; over the
                 characters of the words (over those of all lines or paragraphs for these)
    curator      second occurrence and later; a word inside any such n-gram counts once, with a space
                 after it; over the characters of the text
    dolma        every occurrence, words as often as n-grams hold them; over the characters of all n-grams

Words are told apart in n-grams; datatrove glues them together first, so that "a bc" repeats "ab c" there.
"""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from llmkit.text.features import Features, Repeats
from llmkit.text.ratios import ratio
from llmkit.text.rule import MeasuredRule, Measurement

Variant = Literal["datatrove", "datamap-rs", "curator", "dolma"]
COUNTS_FIRST = ("datamap-rs", "dolma")
"""Variants that count a repeated part's first occurrence too."""


@dataclass(frozen=True, kw_only=True)
class GopherRepetition(MeasuredRule):
    """Drops a document that repeats itself; a threshold is the largest share kept, None for no limit."""

    kind: ClassVar[str] = "gopher-repetition"
    variant: Variant = "datatrove"
    max_duplicate_paragraphs: float | None = 0.30
    max_duplicate_paragraph_characters: float | None = 0.20
    max_duplicate_lines: float | None = 0.30
    max_duplicate_line_characters: float | None = 0.20
    max_top_2_gram: float | None = 0.20
    max_top_3_gram: float | None = 0.18
    max_top_4_gram: float | None = 0.16
    max_duplicate_5_grams: float | None = 0.15
    max_duplicate_6_grams: float | None = 0.14
    max_duplicate_7_grams: float | None = 0.13
    max_duplicate_8_grams: float | None = 0.12
    max_duplicate_9_grams: float | None = 0.11
    max_duplicate_10_grams: float | None = 0.10

    def measurements(self) -> tuple[Measurement, ...]:
        """In datatrove's order, the cheap ones first."""
        parts = [
            (f"duplicate-{part}{unit}", getattr(self, f"max_duplicate_{part}{unit}".replace("-", "_")), by)
            for part in ("paragraph", "line")
            for unit, by in (("s", "number"), ("-characters", "characters"))
        ]
        tops = [(n, getattr(self, f"max_top_{n}_gram")) for n in (2, 3, 4)]
        repeated = [(n, getattr(self, f"max_duplicate_{n}_grams")) for n in range(5, 11)]
        return (
            Measurement(self.named("empty", "1 for a text without a character", high=0), _empty),
            *(
                Measurement(
                    self.named(name, f"share of {name.replace('-', ' ')}", high=high),
                    partial(_parts, name.split("-")[1].removesuffix("s"), by, self.variant),
                )
                for name, high, by in parts
            ),
            *(
                Measurement(
                    self.named(f"top-{n}-gram", f"share of the commonest {n} words in a row", high=high),
                    partial(top_gram, n, self.variant),
                    partial(_top_is_low, n, high or 0.0) if self.variant == "datatrove" else None,
                )
                for n, high in tops
            ),
            *(
                Measurement(
                    self.named(f"duplicate-{n}-grams", f"share of {n} words in a row said before", high=high),
                    partial(repeated_grams, n, self.variant),
                    partial(_repeats_are_low, high or 0.0) if self.variant == "datatrove" else None,
                )
                for n, high in repeated
            ),
        )


def _empty(document: Features) -> float:
    return float(not document.text)


def _parts(part: str, by: str, variant: Variant, document: Features) -> float:
    found = document.paragraph_repeats if part == "paragraph" else document.line_repeats
    whole = len(document.text)
    if variant in COUNTS_FIRST:
        found = _with_firsts(document, part)
        whole = _characters(document, part)
    return ratio(found.number, found.parts) if by == "number" else ratio(found.characters, whole)


def _list(document: Features, part: str) -> list[str]:
    lines = document.text.split("\n\n" if part == "paragraph" else "\n")
    return [line for line in lines if line.strip()]


def _with_firsts(document: Features, part: str) -> Repeats:
    parts = _list(document, part)
    often = [(len(one), count) for one, count in Counter(parts).items() if count > 1]
    return Repeats(sum(count for _, count in often), sum(size * count for size, count in often), len(parts))


def _characters(document: Features, part: str) -> int:
    return sum(map(len, _list(document, part)))


def top_gram(n: int, variant: Variant, document: Features) -> float:
    """The share of the commonest n-gram, all its occurrences together."""
    grams = document.grams
    letters, count = grams.commonest(n)
    if variant == "datamap-rs":
        return ratio(letters * count, grams.num_letters)
    if variant == "dolma":
        return ratio(letters * count, int(grams.letters(n).sum()))
    return ratio((letters + n - 1) * count, len(document.text)) if count else 0.0


def repeated_grams(n: int, variant: Variant, document: Features) -> float:
    """The share of the text inside n-grams that repeat."""
    grams = document.grams
    if variant == "datatrove":
        return ratio(grams.leaping(n), len(document.text))
    found = grams.repeated(n)
    if found is None:
        return 0.0
    if variant == "datamap-rs":
        return ratio(grams.letters_under(found.all, n), grams.num_letters)
    if variant == "dolma":
        letters = grams.letters(n)
        return ratio(int(letters[found.all].sum()), int(letters.sum()))
    inside = grams.words_under(found.later, n)
    return ratio(grams.letters_under(found.later, n) + int(np.count_nonzero(inside)), len(document.text))


def _top_is_low(n: int, high: float, document: Features) -> bool:
    """The commonest n-gram comes no oftener than the commonest pair, and is no longer than the longest."""
    grams = document.grams
    return grams.most_often(2) * (grams.most_letters(n) + n - 1) <= high * len(document.text)


def _repeats_are_low(high: float, document: Features) -> bool:
    """Longer n-grams that repeat lie inside 5-grams that do."""
    return document.grams.covered_later(5) <= high * len(document.text)
