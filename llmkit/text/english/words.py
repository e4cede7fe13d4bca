"""A chunk of text between spaces, split into words and punctuation as spaCy's English tokenizer splits it.

The filters of FineWeb count spaCy's words, so their thresholds mean something in those words only. The
rules, in spaCy's order: special cases; affixes stripped from both ends (quotes, brackets, final stops,
currencies, units); addresses left whole; infixes (hyphens between letters, `a,b`, `...`).

Source: spaCy 3.8 `lang/en`, `lang/punctuation.py` and `tokenizer.pyx` (MIT).
"""

import re
from functools import cache
from itertools import accumulate

from llmkit.text.english.characters import (
    CURRENCY,
    DOMAIN,
    DOT_LEFT,
    DOT_RIGHT,
    FIRST,
    LAST,
    LETTER,
    LONG_CURRENCIES,
    SIGNS,
    STOPPABLE,
    UNITS,
    UPPER,
)
from llmkit.text.english.special import special_chunks
from llmkit.text.english.whole import WHOLE

_LONG = "|".join(map(re.escape, LONG_CURRENCIES))
_PREFIX = re.compile(rf"\.\.+|{_LONG}|{FIRST}|\+(?![0-9])")
_SUFFIX = re.compile(
    rf"(?:\.\.+|['’][sS]|(?<=[0-9])\+|(?<=°[FfCcKk])\.|(?<=[0-9])(?:{_LONG}|{CURRENCY}|{'|'.join(UNITS)})"
    rf"|(?<={STOPPABLE})\.|(?<=[{UPPER}][{UPPER}])\.|{LAST})$"
)
_SUFFIX_WINDOW = max(map(len, (*UNITS, *LONG_CURRENCIES))) + 2  # a suffix but for dots, and what it looks at
_INFIX = re.compile(
    rf"\.\.+|…|[{SIGNS}]|(?<=[0-9])[+\-*^](?=[0-9-])|(?<={DOT_LEFT})\.(?={DOT_RIGHT})|(?<={LETTER}),(?={LETTER})"
    rf"|(?<=[^\W_])(?:---|--|——|[-–—~])(?={LETTER})|(?<=[^\W_])[:<>=/](?={LETTER})"
)
_ADDRESS = re.compile(
    r"(?:[\w+\-.]{2,}://)?(?:\S+@)?(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
    r"|(?:(?:[A-Za-z0-9\u00a1-\uffff][A-Za-z0-9\u00a1-\uffff_-]{0,62})?[A-Za-z0-9\u00a1-\uffff]\.)+"
    rf"{DOMAIN}{{2,63}})(?::[0-9]{{2,5}})?(?:[/?#]\S*)?"
)
_OPENING = '(["“'
_CLOSING = ',;:!?)]"”'


def split_chunk(chunk: str) -> list[str]:
    """The words and punctuation marks of a chunk that holds no white space: `(world!)` is ( world ! )."""
    if chunk.isalpha():
        return _special(chunk, 0, len(chunk)) or [chunk]
    return _split_plain(chunk) or split_any(chunk)


def _split_plain(chunk: str) -> list[str] | None:
    """The words of letters with marks around them, as most chunks are; None where that is not sure."""
    word = chunk.lstrip(_OPENING).rstrip(_CLOSING)
    stop = word[-1:] == "." and word[-2:-1].islower()
    if stop:
        word = word[:-1]
    if not word.isalpha() or word in WHOLE or f"{word}." in WHOLE:
        return None
    start = chunk.index(word)
    end = start + len(word)
    if (start and chunk[start - 1 : end] in WHOLE) or chunk[start : end + 1] in WHOLE:
        return None
    return _joined([*chunk[:start], *(_special(word, 0, len(word)) or [word]), *chunk[end:]])


def split_any(chunk: str) -> list[str]:
    """`split_chunk` of any chunk, by spaCy's rules in their order; in time that its length bounds."""
    front: list[str] = []
    back: list[str] = []
    special: list[str] | None = None
    start, end = 0, len(chunk)
    while start < end and (special := _special(chunk, start, end)) is None:
        prefix = _PREFIX.match(chunk, start, end)
        first = prefix.end() if prefix else start
        if prefix and (special := _special(chunk, first, end)) is not None:
            front.append(chunk[start:first])
            break
        last = _suffix_start(chunk, start, first, end)
        if last < end and (special := _special(chunk, start, last)) is not None:
            back.append(chunk[last:end])
            break
        if first == start and last == end:
            break
        if prefix:
            front.append(chunk[start:first])
        if last < end:
            back.append(chunk[last:end])
        start, end = first, last
    if special is None:
        left = chunk[start:end]
        special = [left] if left and _ADDRESS.fullmatch(left) else _infixes(left)
    return _joined(front + special + back[::-1])


def _suffix_start(chunk: str, start: int, first: int, end: int) -> int:
    """Where the suffix of chunk[start:end] begins, at `first` or behind it; `end` where there is none."""
    dots = end
    while dots > first and chunk[dots - 1] == ".":
        dots -= 1
    if end - dots > 1:
        return dots
    # from the front of a long chunk all of it would be searched at each turn
    window = max(start, end - _SUFFIX_WINDOW)
    found = _SUFFIX.search(chunk[window:end], max(0, first - window))
    return window + found.start() if found else end


def _special(chunk: str, start: int, end: int) -> list[str] | None:
    """The words of chunk[start:end] where it is a special case."""
    if end - start > _longest_special():
        return None
    part = chunk[start:end]
    lengths = special_chunks().get(part)
    if lengths is None:
        return None
    ends = [*accumulate(lengths)]
    return [part[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@cache
def _longest_special() -> int:
    return max(map(len, special_chunks()))


def _joined(words: list[str]) -> list[str]:
    """Neighbours that are one special case together: ' and ', Mr and the stop after it."""
    if len(words) < 2:
        return words
    joined = words[:1]
    for word in words[1:]:
        if joined[-1] + word in WHOLE:
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _infixes(chunk: str) -> list[str]:
    words: list[str] = []
    start = 0
    for found in _INFIX.finditer(chunk):
        if not found.start():
            continue
        if start < found.start():
            words.append(chunk[start : found.start()])
        words.append(found.group())
        start = found.end()
    if start < len(chunk):
        words.append(chunk[start:])
    return words
