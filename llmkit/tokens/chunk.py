"""Texts cut to a number of tokens: truncation and overlapping chunks.

Cuts fall on token boundaries, and never inside a character. What comes out is a slice of the text itself, not
a decoding, and is encoded again before it is believed: by itself it has at most the wanted number of tokens.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llmkit.errors import UsageError
from llmkit.tokens.config import Keep
from llmkit.tokens.spans import Spans


@dataclass(frozen=True)
class Chunk:
    """A slice of a text: characters [start, end), which begin at token `token` of the whole."""

    start: int
    end: int
    token: int
    tokens: int
    """How many tokens the slice has when it is encoded by itself."""


def truncate(text: str, spans: Spans, limit: int, keep: Keep, count: Callable[[str], int]) -> str:
    """At most `limit` tokens of `text`: its head, tail or middle, or both ends without the middle.

    Args:
        spans: of the text's tokens.
        count: how many tokens a text has, special ones included.
    """
    if count(text) <= limit:
        return text
    wanted = min(limit, len(spans))
    while wanted > 0:
        kept = _kept(text, spans, wanted, keep)
        surplus = count(kept) - limit
        if surplus <= 0:
            return kept
        wanted -= surplus
    return ""


def chunks(text: str, spans: Spans, size: int, overlap: int, count: Callable[[str], int]) -> Iterator[Chunk]:
    """Slices of at most `size` tokens; each repeats the last `overlap` tokens of the one before.

    Without overlap the slices joined are the text. An empty text has no chunks.

    Raises:
        UsageError: one character takes more than `size` tokens, or the overlap leaves no room to move on.
    """
    start = 0
    while start < len(spans):
        end = min(start + size, len(spans))
        begin = _start_of(text, spans, start)
        tokens = count(text[begin : _start_of(text, spans, end)])
        while tokens > size and end > start + 1:
            end -= 1
            tokens = count(text[begin : _start_of(text, spans, end)])
        stop = _start_of(text, spans, end)
        if tokens > size or stop == begin:
            raise UsageError(
                f"chunks of {size} tokens are too small: one character takes more",
                hint="raise --chunk to 16 or more",
            )
        yield Chunk(begin, stop, start, tokens)
        if end == len(spans):
            return
        start = _next_start(text, spans, end, overlap, begin)


def _next_start(text: str, spans: Spans, end: int, overlap: int, begin: int) -> int:
    """The token at which the next chunk starts: `overlap` before `end`, but always further on in the text."""
    start = max(end - overlap, 0)
    while start < end and _start_of(text, spans, start) <= begin:
        start += 1
    return start


def _kept(text: str, spans: Spans, wanted: int, keep: Keep) -> str:
    total = len(spans)
    if keep == "head":
        return text[: _start_of(text, spans, wanted)]
    if keep == "tail":
        return text[_end_of(spans, total - wanted) :]
    if keep == "middle":
        first = (total - wanted) // 2
        return text[_end_of(spans, first) : _start_of(text, spans, first + wanted)]
    head = (wanted + 1) // 2
    return text[: _start_of(text, spans, head)] + text[_end_of(spans, total - (wanted - head)) :]


def _start_of(text: str, spans: Spans, token: int) -> int:
    """Where token number `token` begins: the start of the character it begins in, or the end of the text."""
    return int(spans.chars[token, 0]) if token < len(spans) else len(text)


def _end_of(spans: Spans, tokens: int) -> int:
    """Where the first `tokens` tokens end: after the last character they touch."""
    return int(spans.chars[tokens - 1, 1]) if tokens else 0
