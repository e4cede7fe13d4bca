"""Text that a scanner misread: garbage words, torn words, lone letters, signs of broken decoding.

The bounds are set on newspapers of 1842 to 1954 (raw OCR beside its correction) and on books and web pages;
see ocr_words.py for what garbage is.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from llmkit.text.features import Features
from llmkit.text.ocr_words import is_garbage
from llmkit.text.ratios import ratio
from llmkit.text.rule import MeasuredRule, Measurement

_TORN = re.compile(r"[^\W\d_]-\n[^\W\d_]")
_LONE = re.compile(r"(?<!\S)(?![aAIiOoyYeEuU&])[^\W\d_](?!\S)")
_BROKEN = re.compile("[\ufffd\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")


@dataclass(frozen=True, kw_only=True)
class Ocr(MeasuredRule):
    """Drops a misread page; each threshold is a share of the chunks between spaces, None for no limit."""

    kind: ClassVar[str] = "ocr"
    max_garbage_words: float | None = 0.006
    max_torn_words: float | None = 0.01
    max_lone_letters: float | None = 0.06
    max_broken_characters: float | None = 0.005
    """Of all characters: U+FFFD and control characters."""

    def measurements(self) -> tuple[Measurement, ...]:
        """The cheap ones first."""
        return (
            Measurement(
                self.named(
                    "broken-characters",
                    "share of U+FFFD and control characters",
                    high=self.max_broken_characters,
                ),
                _broken,
            ),
            Measurement(
                self.named(
                    "torn-words", "words torn at a line's end, for each word", high=self.max_torn_words
                ),
                _torn,
            ),
            Measurement(
                self.named("lone-letters", "share of lone consonants", high=self.max_lone_letters), _lone
            ),
            Measurement(
                self.named("garbage-words", "share of garbage words", high=self.max_garbage_words), _garbage
            ),
        )


def _broken(document: Features) -> float:
    return ratio(len(_BROKEN.findall(document.text)), len(document.text))


def _torn(document: Features) -> float:
    return ratio(len(_TORN.findall(document.text)), len(document.chunks))


def _lone(document: Features) -> float:
    return ratio(len(_LONE.findall(document.text)), len(document.chunks))


_is_garbage = lru_cache(1 << 16)(is_garbage)


def _garbage(document: Features) -> float:
    chunks = document.chunks
    return ratio(sum(map(_is_garbage, chunks)), len(chunks))
