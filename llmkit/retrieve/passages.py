"""Documents cut into passages: at headings and paragraphs where there are any, else lines, sentences, words.

A passage is a slice of its document, so that a citation can point at the very characters.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from llmkit.tokens.spans import Spans

CHARACTERS_PER_TOKEN = 4
"""What a token counts for without a tokenizer: about what English prose has in the vocabularies of today."""
_HEADING = re.compile(r"^(#{1,6})[ \t]+(\S.*?)[ \t#]*$", re.MULTILINE)
_BREAKS = (("\n\n",), ("\n",), (". ", "! ", "? ", "。", "！", "？"), (" ", "\t"))
"""Where a text may be cut, after these, the best first; a heading is better than all."""


class Passage(NamedTuple):
    """Characters [start, end) of a document, without the space around them, and the headings above them."""

    start: int
    end: int
    heading: str
    """`Manual > Install`; empty where there is none."""


class Measure(Protocol):
    """How long passages may be."""

    def reach(self, start: int) -> int:
        """The furthest end of a passage that begins at `start`; beyond it, or the end of the text."""

    def back(self, end: int) -> int:
        """Where the overlap before `end` begins."""


@dataclass(frozen=True)
class CharacterMeasure:
    """Sizes in characters of a text of `length`."""

    length: int
    size: int
    overlap: int

    def reach(self, start: int) -> int:
        """See `Measure`."""
        return min(start + self.size, self.length)

    def back(self, end: int) -> int:
        """See `Measure`."""
        return max(end - self.overlap, 0)


class TokenMeasure:
    """Sizes in tokens of one text: its tokens' ranges.

    Several may be of one character: one that a size ends in is left out, with all of them.
    """

    def __init__(self, spans: Spans, length: int, size: int, overlap: int) -> None:
        self._starts = spans.chars[:, 0]
        self._ends = spans.chars[:, 1]
        self._length, self._size, self._overlap = length, size, overlap

    def reach(self, start: int) -> int:
        """See `Measure`."""
        behind = int(np.searchsorted(self._ends, start, side="right")) + self._size
        if behind >= len(self._ends):
            return self._length
        return max(start + 1, int(min(self._ends[behind - 1], self._starts[behind])))

    def back(self, end: int) -> int:
        """See `Measure`."""
        if not self._overlap:
            return end
        first = int(np.searchsorted(self._starts, end, side="left")) - self._overlap
        return int(max(self._starts[first], self._ends[first - 1])) if first > 0 else 0


def passages(text: str, measure: Measure) -> Iterator[Passage]:
    """Cut a text.

    Together they hold every character that is no space at an edge. Each begins behind the one before, or in
    its last part, the overlap; a passage that begins with a heading repeats nothing.
    """
    if measure.reach(0) >= len(text) and "#" not in text:  # most short documents
        first, last = _stripped(text, 0, len(text))
        return iter((Passage(first, last, ""),) if first < last else ())
    return _passages(text, measure)


def _passages(text: str, measure: Measure) -> Iterator[Passage]:
    headings = _Headings(text)
    start = 0
    while start < len(text):
        reach = max(measure.reach(start), start + 1)
        cut, is_heading = (len(text), True) if reach >= len(text) else _cut(text, start, reach)
        first, last = _stripped(text, start, cut)
        if first < last:
            yield Passage(first, last, headings.above(first))
        start = cut if is_heading else _begin(text, first, cut, measure.back(cut))


def _cut(text: str, start: int, reach: int) -> tuple[int, bool]:
    """Where a passage from `start` ends, in the second half of its reach, and whether a heading follows."""
    half = start + (reach - start + 1) // 2
    line = text.rfind("\n#", half, reach + 1)
    while line >= 0:
        if _HEADING.match(text, line + 1):
            return line + 1, True
        line = text.rfind("\n#", half, line)
    for marks in _BREAKS:
        cut = -1
        for mark in marks:
            at = text.rfind(mark, half, reach)
            if at >= 0:
                cut = max(cut, at + len(mark))
        if cut > half:
            return cut, False
    return reach, False


def _begin(text: str, start: int, cut: int, back: int) -> int:
    """Where the passage behind `cut` begins: at `back`, or at the first break between it and the cut."""
    if back >= cut:
        return cut
    for marks in _BREAKS[1:]:
        begin = cut
        for mark in marks:
            at = text.find(mark, back, begin)
            if at >= 0:
                begin = min(begin, at + len(mark))
        if start < begin < cut:
            return begin
    return back if back > start else cut


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


class _Headings:
    """The headings of a document, and which of them a place stands under."""

    def __init__(self, text: str) -> None:
        self._starts: list[int] = []
        self._paths: list[str] = []
        path: list[tuple[int, str]] = []
        at = 0
        while at >= 0:
            found = _HEADING.match(text, at)
            if found is not None:
                depth = len(found[1])
                path = [*((level, title) for level, title in path if level < depth), (depth, found[2])]
                self._starts.append(at)
                self._paths.append(" > ".join(title for _, title in path))
            line = text.find("\n#", at)
            at = line + 1 if line >= 0 else -1

    def above(self, place: int) -> str:
        number = bisect_right(self._starts, place)
        return self._paths[number - 1] if number else ""
