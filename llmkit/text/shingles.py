"""Shingles: the runs of n words (or characters) that a text is made of, as numbers, many texts at a time.

A word is a run of letters, digits and underscores; case, accents and everything between words do not count. A
character of a script that puts no space between words (Han, kana, Thai, Lao, Khmer, Burmese) is a word of its
own. In `char` units every letter and digit counts for one, whatever stands between.

Nothing here makes a Python object of a word. The texts of a batch become one array of code points; a table
gives each its number; the number of a word is a polynomial in those of its characters, read off a running
sum, modulo 2^32; that of a shingle a polynomial in those of its words, modulo 2^64.

N texts, W elements (words or characters), S shingles.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Offsets = NDArray[np.int64]
ShingleUnit = Literal["word", "char"]

BATCH_CHARACTERS = 1 << 17
"""Texts are taken together up to this, so that the arrays of a batch stay in the processor's cache."""
_TABLE = 0x30000
"""Code points with an entry of their own: all scripts; what lies above (rare ideographs) shares the last."""
_BASE, _STEP = 0x85EBCA6B, 0xD6E8FEB86659FD93
"""Odd, so that powers of the first have inverses modulo 2^32."""
_SEPARATOR, _WORD, _ALONE, _MARK = 0, 1, 2, 3
_UNSPACED = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007)),
    *((0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF)),
    (0x20000, 0x2FFFF),
)
_ACCENTS = (0x0300, 0x036F)


class Shingled(NamedTuple):
    """The shingles of some texts, in order, repeated ones too."""

    hashes: Hashes
    """(S,): well mixed, so that any 32 bits of one are as good as random."""
    offsets: Offsets
    """(N + 1,): text i has those from offsets[i] up to offsets[i + 1]."""


def shingle(texts: Sequence[str], *, ngram: int = 5, unit: ShingleUnit = "word") -> Shingled:
    """The shingles of some texts.

    A text of fewer than `ngram` elements is one shingle; one without any has none.

    Args:
        texts: a batch; see `batches`.
        ngram: elements in a shingle, 1 or more.
        unit: what an element is.
    """
    elements, offsets = _elements(texts, unit)
    num_elements = np.diff(offsets)
    counts = np.where(num_elements >= ngram, num_elements - ngram + 1, np.minimum(num_elements, 1))
    starts = np.concatenate(([0], np.cumsum(counts)))
    if len(elements) >= ngram:
        windows = _polynomials(elements, ngram)
        whole = np.ones(len(windows), bool)  # windows that lie in one text
        for step in range(1, ngram):
            last = offsets[1:] - step
            whole[last[(last >= 0) & (last < len(windows))]] = False
        hashes = mix(windows[whole])
    else:
        hashes = np.empty(0, np.uint64)
    short = np.flatnonzero((num_elements > 0) & (num_elements < ngram))
    if len(short):
        hashes = _with_short(hashes, elements, offsets, starts, counts, short)
    return Shingled(hashes, starts)


def batches(lengths: Sequence[int], most: int = BATCH_CHARACTERS) -> Iterator[slice]:
    """Slices of neighbours that together have about `most` characters, and at least one text."""
    start = total = 0
    for position, length in enumerate(lengths):
        total += length
        if total >= most:
            yield slice(start, position + 1)
            start, total = position + 1, 0
    if start < len(lengths):
        yield slice(start, len(lengths))


def shingle_set(hashes: Hashes) -> NDArray[np.uint32]:
    """The different shingles of one text, sorted, 32 bits of each.

    Two of them pass for one in texts of 10,000 words about once in 40 pairs of texts: nothing to a ratio.
    """
    return np.unique((hashes >> np.uint64(32)).astype(np.uint32))


def mix(numbers: Hashes) -> Hashes:
    """Each number as another, one to one; every bit depends on all (the finaliser of MurmurHash3)."""
    numbers = numbers ^ (numbers >> np.uint64(33))
    numbers *= np.uint64(0xFF51AFD7ED558CCD)
    numbers ^= numbers >> np.uint64(33)
    numbers *= np.uint64(0xC4CEB9FE1A85EC53)
    numbers ^= numbers >> np.uint64(33)
    return numbers


def _elements(texts: Sequence[str], unit: ShingleUnit) -> tuple[Hashes, Offsets]:
    """The numbers of all words or characters (W,), and where each text begins among them (N + 1,)."""
    lengths = np.fromiter((len(text) for text in texts), np.int64, len(texts))
    starts = np.concatenate(([0], np.cumsum(lengths + 1)))  # one for the line break between
    codes = np.frombuffer("\n".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    find = _words if unit == "word" else _characters
    found = [find(codes[part], part.start) for part in _parts(codes)]
    places = np.concatenate([place for place, _ in found] or [np.empty(0, np.int64)])
    hashes = np.concatenate([one for _, one in found] or [np.empty(0, np.uint64)])
    return hashes, np.searchsorted(places, starts).astype(np.int64)


def _parts(codes: NDArray[np.uint32]) -> Iterator[slice]:
    """The code points in parts of about a batch that end between words."""
    kinds, _ = _tables()
    start = 0
    while start < len(codes):
        stop, reach = start + BATCH_CHARACTERS, 256
        while start + BATCH_CHARACTERS < len(codes):
            tail = kinds.take(codes[stop - min(reach, stop - start) : stop], mode="clip")
            between = np.flatnonzero(tail == _SEPARATOR)
            if len(between):
                stop -= len(tail) - 1 - int(between[-1])
                break
            if reach >= stop - start:  # all one word: take more
                if stop >= len(codes):
                    break
                stop = min(stop + BATCH_CHARACTERS, len(codes))
            reach *= 16
        stop = min(stop, len(codes))
        yield slice(start, stop)
        start = stop


def _words(codes: NDArray[np.uint32], start: int) -> tuple[Offsets, Hashes]:
    """Where each word begins, and its number."""
    values, places, begin, end = _looked_up(codes)
    powers, inverses = _powers(len(values))
    values *= powers
    sums = np.empty(len(values) + 1, np.uint32)
    sums[0] = 0
    np.cumsum(values, out=sums[1:])
    hashes = sums.take(end)
    hashes -= sums.take(begin)
    hashes *= inverses.take(begin)
    where = begin if places is None else places[begin]
    return where + start, hashes.astype(np.uint64)


def _characters(codes: NDArray[np.uint32], start: int) -> tuple[Offsets, Hashes]:
    """Where each letter or digit stands, and its number."""
    values, places, _, _ = _looked_up(codes)
    kept = np.flatnonzero(values)
    return (kept if places is None else places[kept]) + start, values[kept].astype(np.uint64)


def _looked_up(codes: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], Offsets | None, Offsets, Offsets]:
    """Code points without accents as numbers (0: between words), where they stood (None: none were left
    out), and the first place of each word and the one behind its last."""
    table_kinds, table_values = _tables()
    entries = codes.astype(np.intp)
    places = None
    above = np.flatnonzero(codes >= _ACCENTS[0])  # all that is no plain word stands there
    kinds = table_kinds.take(entries[above], mode="clip")
    if len(above) and kinds.max() == _MARK:
        kept = np.ones(len(codes), bool)
        kept[above[kinds == _MARK]] = False
        places = np.flatnonzero(kept)
        entries = entries[places]
        above = np.flatnonzero(entries >= _ACCENTS[0])
        kinds = table_kinds.take(entries[above], mode="clip")
    values = table_values.take(entries, mode="clip")
    inside = np.zeros(len(values) + 2, bool)
    np.not_equal(values, 0, out=inside[1:-1])
    edges = inside[1:] != inside[:-1]
    if not len(above) or kinds.max() < _ALONE:
        bounds = np.flatnonzero(edges)
        return values, places, bounds[::2], bounds[1::2]
    alone = above[kinds == _ALONE]
    edges[alone] = edges[alone + 1] = True
    return values, places, np.flatnonzero(edges & inside[1:]), np.flatnonzero(edges & inside[:-1])


def _polynomials(elements: Hashes, ngram: int) -> Hashes:
    """The number of each window of `ngram` neighbours: Horner's rule on shifted views."""
    count = len(elements) - ngram + 1
    windows = elements[:count].copy()
    for step in range(1, ngram):
        windows *= np.uint64(_STEP)
        windows += elements[step : step + count]
    return windows


def _with_short(
    hashes: Hashes, elements: Hashes, offsets: Offsets, starts: Offsets, counts: Offsets, short: Offsets
) -> Hashes:
    """The shingles with those of short texts at their places."""
    merged = np.empty(starts[-1], np.uint64)
    is_short = np.zeros(len(counts), bool)
    is_short[short] = True
    merged[~np.repeat(is_short, counts)] = hashes
    for text in short:
        own = elements[offsets[text] : offsets[text + 1]]
        merged[starts[text]] = mix(_polynomials(own, len(own)) + np.uint64(len(own)))[0]
    return merged


@cache
def _powers(count: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The powers 0 to count - 1 of `_BASE`, and their inverses."""
    if count < BATCH_CHARACTERS:  # parts of one batch share a table
        powers, inverses = _powers(BATCH_CHARACTERS)
        return powers[:count], inverses[:count]
    factors = np.full(count, _BASE, np.uint32), np.full(count, pow(_BASE, -1, 1 << 32), np.uint32)
    for one in factors:
        one[0] = 1
        np.cumprod(one, out=one)
    return factors


@cache
def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """Each code point's kind, and its number: that of its lower case without accents; 0 between words."""
    from unicodedata import decomposition  # of the few that have one; the rest is their own

    characters = [chr(code) for code in range(_TABLE)]
    kinds = np.fromiter(map(str.isalnum, characters), np.uint8, _TABLE) * np.uint8(_WORD)
    kinds[ord("_")] = _WORD
    plain = np.arange(_TABLE, dtype=np.uint64)
    for code in np.flatnonzero(kinds).tolist():
        character = characters[code]
        if character.lower() != character or decomposition(character):
            plain[code] = _plain(character)
    _mark_others(kinds)
    values = (mix(plain + np.uint64(_STEP)) >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
    values[kinds == _SEPARATOR] = 0
    return kinds, values


def _plain(character: str) -> int:
    """The code point of a letter in lower case without its accents."""
    import unicodedata

    parts = unicodedata.normalize("NFD", character)
    base, accents = parts[0], parts[1:]
    if accents and all(_ACCENTS[0] <= ord(one) <= _ACCENTS[1] for one in accents):
        character = base
    lower = character.lower()
    return ord(lower) if len(lower) == 1 else ord(character)


def _mark_others(kinds: NDArray[np.uint8]) -> None:
    """Vowel signs and the like belong to their word; accents count for nothing; unspaced scripts."""
    import unicodedata

    for code in range(0x0300, _TABLE):
        if kinds[code] == _SEPARATOR and unicodedata.category(chr(code)) in ("Mn", "Mc"):
            kinds[code] = _WORD
    kinds[_ACCENTS[0] : _ACCENTS[1] + 1] = _MARK
    for first, last in _UNSPACED:
        part = kinds[first : last + 1]
        part[part != _SEPARATOR] = _ALONE
