"""A chunk of text between spaces, split into words and punctuation as spaCy's English tokenizer splits it.

The filters of FineWeb count spaCy's words, so their thresholds mean something in those words only. The
rules, in spaCy's order: special cases; affixes stripped from both ends (quotes, brackets, final stops,
currencies, units); addresses left whole; infixes (hyphens between letters, `a,b`, `...`). Of its emoticons
only the common ones are here.

Source: spaCy 3.8 `lang/en`, `lang/punctuation.py` and `tokenizer.pyx` (MIT).
"""

import re
from itertools import accumulate

from llmkit.text.english_characters import (
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
from llmkit.text.english_special import special_chunks
from llmkit.text.english_whole import WHOLE

_LONG = "|".join(map(re.escape, LONG_CURRENCIES))
_PREFIX = re.compile(rf"\.\.+|{_LONG}|{FIRST}|\+(?![0-9])")
_SUFFIX = re.compile(
    rf"(?:\.\.+|['’][sS]|(?<=[0-9])\+|(?<=°[FfCcKk])\.|(?<=[0-9])(?:{_LONG}|{CURRENCY}|{'|'.join(UNITS)})"
    rf"|(?<={STOPPABLE})\.|(?<=[{UPPER}][{UPPER}])\.|{LAST})$"
)
_INFIX = re.compile(
    rf"\.\.+|…|[{SIGNS}]|(?<=[0-9])[+\-*^](?=[0-9-])|(?<={DOT_LEFT})\.(?={DOT_RIGHT})|(?<={LETTER}),(?={LETTER})"
    rf"|(?<=[^\W_])(?:---|--|——|[-–—~])(?={LETTER})|(?<=[^\W_])[:<>=/](?={LETTER})"
)
_ADDRESS = re.compile(
    r"(?:[\w+\-.]{2,}://)?(?:\S+(?::\S*)?@)?(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
    r"|(?:(?:[A-Za-z0-9\u00a1-\uffff][A-Za-z0-9\u00a1-\uffff_-]{0,62})?[A-Za-z0-9\u00a1-\uffff]\.)+"
    rf"{DOMAIN}{{2,63}})(?::[0-9]{{2,5}})?(?:[/?#]\S*)?"
)
_OPENING = '(["“'
_CLOSING = ',;:!?)]"”'


def split_chunk(chunk: str) -> list[str]:
    """The words and punctuation marks of a chunk that holds no white space: `(world!)` is ( world ! )."""
    if chunk.isalpha():
        return _special(chunk) or [chunk]
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
    return _joined([*chunk[:start], *(_special(word) or [word]), *chunk[end:]])


def split_any(chunk: str) -> list[str]:
    """`split_chunk` of any chunk, by spaCy's rules in their order."""
    front: list[str] = []
    back: list[str] = []
    special: list[str] | None = None
    while chunk and (special := _special(chunk)) is None:
        prefix = _PREFIX.match(chunk)
        first = prefix.end() if prefix else 0
        if first and (special := _special(chunk[first:])) is not None:
            front.append(chunk[:first])
            break
        suffix = _SUFFIX.search(chunk, first)
        last = suffix.start() if suffix else len(chunk)
        if suffix and (special := _special(chunk[:last])) is not None:
            back.append(chunk[last:])
            break
        if not first and not suffix:
            break
        if first:
            front.append(chunk[:first])
        if suffix and last < len(chunk):
            back.append(chunk[last:])
        chunk = chunk[first:last]
    if special is None:
        special = [chunk] if chunk and _ADDRESS.fullmatch(chunk) else _infixes(chunk)
    return _joined(front + special + back[::-1])


def _special(chunk: str) -> list[str] | None:
    lengths = special_chunks().get(chunk)
    if lengths is None:
        return None
    ends = [*accumulate(lengths)]
    return [chunk[start:end] for start, end in zip([0, *ends], ends, strict=False)]


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
