"""Paragraphs and lines of a text, and the text without some of them.

A paragraph ends at a line with nothing on it, a line at its break. Two are the same when their words are, in
order and letter by letter: the white space between them does not count. Those of few words (a brace, a
heading, a page number) are no one's property and left alone.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from llmkit.text.exact import digest_of

PieceKind = Literal["paragraph", "line"]
MIN_WORDS = 5
"""A piece of fewer words is never a duplicate."""
_BREAKS = {"paragraph": re.compile(r"\r?\n(?:[^\S\n]*\r?\n)+"), "line": re.compile(r"\r?\n")}


class TextPiece(NamedTuple):
    """A paragraph or line."""

    start: int
    """Its first character."""
    stop: int
    """Behind its last, the break not counted."""
    next: int
    """Where the next one begins."""
    digest: tuple[int, int]


def split_pieces(text: str, kind: PieceKind, *, min_words: int = MIN_WORDS) -> list[TextPiece]:
    """The pieces of a text that can be duplicates, in order."""
    pieces = []
    start = 0
    for match in [*_BREAKS[kind].finditer(text), None]:
        stop, behind = match.span() if match else (len(text), len(text))
        words = text[start:stop].split()
        if len(words) >= min_words:
            digest = digest_of(" ".join(words).encode(errors="surrogatepass"))
            pieces.append(TextPiece(start, stop, behind, digest))
        start = behind
    return pieces


def without(text: str, pieces: Iterable[TextPiece]) -> str:
    """The text without these pieces, each taken with the break behind it (the last one with that before)."""
    kept = []
    position = stop = 0
    for piece in pieces:
        kept.append(text[position : piece.start])
        position, stop = piece.next, piece.stop
    kept.append(text[position:])
    left = "".join(kept)
    return left.rstrip() if position == stop == len(text) else left


def spans(pieces: Sequence[TextPiece]) -> list[tuple[int, int]]:
    """First and past-the-last character of each."""
    return [(piece.start, piece.stop) for piece in pieces]
