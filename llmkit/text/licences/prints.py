"""Fingerprints of licence texts: whole licences known again inside a text, whatever was wrapped or indented.

A text's print is the hashes of its runs of five words, the lowest 128 of them where there are more (a sample
that does not depend on where in the text it is taken). How much of a licence's print a text holds is the
confidence that it holds the licence. `prints.json` was made by `print_of` from the texts of SPDX's
list 3.29 (ISC's with "the author" for its maker) and from the licence in Project Gutenberg's books:
{"id": {"words": how many the text has, "print": base64 of u32, little endian, sorted}}.
"""

import base64
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

RUN = 5
MOST = 128
LEAST_CONFIDENCE = 0.7
_WORD = re.compile(r"[A-Za-z0-9]+")
_AROUND = 40_000
"""Characters on both sides of a mention that are looked at: more than the longest licence has."""
_TELLING = ("licens", "licenc", "warrant", "permission", "permitted", "copyright", "redistribut")
_CLUSTER, _CLUSTER_CHARS = 3, 3000  # so many telling words so close together: every licence has them
Hashes = NDArray[np.uint32]


class PrintMatch(msgspec.Struct, frozen=True):
    """A licence whose text is in a text: the share of its print found, the characters from first to last."""

    licence: str
    confidence: float
    start: int
    end: int


def print_of(text: str) -> Hashes:
    """A text's print, sorted."""
    hashes, _ = _hashed(text, [(0, len(text))])
    return np.unique(hashes)[:MOST]


def match_prints(text: str) -> list[PrintMatch]:
    """The licences whose texts are in a text, in the order in which they stand there.

    Of two that claim the same place (BSD-2-Clause is part of BSD-3-Clause, the Creative Commons differ in a
    few clauses) the one stays whose own runs, those that the other does not have, are there.
    """
    hashes, places = _hashed(text, _pieces(text))
    if not len(hashes):
        return []
    known = np.sort(hashes)
    found: list[PrintMatch] = []
    for licence, prints in known_prints().items():
        there = known[np.minimum(np.searchsorted(known, prints), len(known) - 1)] == prints
        if there.mean() >= LEAST_CONFIDENCE:
            match = _densest(licence, prints, hashes, places)
            found += [match] if match.confidence >= LEAST_CONFIDENCE else []
    beaten = {
        match.licence
        for match in found
        for other in found
        if _claim_one_place(match, other) and _beats(other, match, known)
    }
    return sorted((match for match in found if match.licence not in beaten), key=lambda match: match.start)


def _densest(licence: str, prints: Hashes, hashes: Hashes, places: NDArray[np.int64]) -> PrintMatch:
    """Where most of a print stands within the length of its licence: single runs elsewhere do not count."""
    runs = np.flatnonzero(np.isin(hashes, prints))
    last = np.searchsorted(runs, runs + int(_words_of(licence) * 1.25) + RUN, side="right")
    first = int(np.argmax(last - np.arange(len(runs))))
    inside = runs[first : last[first]]
    gap = max(60, 12 * _words_of(licence) // len(prints))  # words: far more than lie between two of a print
    parts = np.split(inside, np.flatnonzero(np.diff(inside) > gap) + 1)
    inside = max(parts, key=len)
    share = len(np.unique(hashes[inside])) / len(prints)
    start, end = places[inside[0]][0], places[inside[-1] + RUN - 1][1]
    return PrintMatch(licence, round(share, 3), int(start), int(end))


def _claim_one_place(one: PrintMatch, other: PrintMatch) -> bool:
    """Whether two overlap by more than half of the shorter; a disclaimer in common does not make it so."""
    shared = min(one.end, other.end) - max(one.start, other.start)
    return 2 * shared > min(one.end - one.start, other.end - other.start)


def _beats(one: PrintMatch, other: PrintMatch, known: Hashes) -> bool:
    """Whether more of what only `one` has is there than of what only `other` has."""
    mine, theirs = known_prints()[one.licence], known_prints()[other.licence]
    reach = min((prints[-1] for prints in (mine, theirs) if len(prints) == MOST), default=2**32 - 1)
    shares = []
    for prints, rest in ((mine, theirs), (theirs, mine)):
        own = np.setdiff1d(prints[prints <= reach], rest)  # beyond it the other took none
        shares.append(float(np.isin(own, known).mean()) if len(own) else 0.5)  # none: a part
    return (shares[0], one.confidence, one.licence) > (shares[1], other.confidence, other.licence)


@cache
def known_prints() -> dict[str, Hashes]:
    """The prints of the licences known by their texts."""
    return {
        licence: np.frombuffer(base64.b64decode(entry["print"]), dtype="<u4")
        for licence, entry in _table().items()
    }


@cache
def _table() -> dict[str, dict[str, str]]:
    content = Path(__file__).with_name("prints.json").read_bytes()
    return msgspec.json.decode(content, type=dict[str, dict[str, str]])


def _words_of(licence: str) -> int:
    """How many words the licence's whole text has."""
    return int(_table()[licence]["words"])


def _pieces(text: str) -> list[tuple[int, int]]:
    """What to look at: the text around each cluster of telling words, pieces that touch joined."""
    lower = text.lower()  # a few letters change their length: places are good enough for a piece's ends
    if sum(lower.count(word) for word in _TELLING) < _CLUSTER:
        return []
    places = sorted(place for word in _TELLING for place in _places(lower, word))
    pieces: list[tuple[int, int]] = []
    for first, last in zip(places, places[_CLUSTER - 1 :], strict=False):
        if last - first > _CLUSTER_CHARS:
            continue
        start, end = max(0, first - _AROUND), min(len(text), last + _AROUND)
        if pieces and start <= pieces[-1][1]:
            pieces[-1] = (pieces[-1][0], end)
        else:
            pieces.append((start, end))
    return pieces


def _places(text: str, word: str) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + 1)


def _hashed(text: str, pieces: list[tuple[int, int]]) -> tuple[Hashes, NDArray[np.int64]]:
    """The hash of each run of five words in order, and the start and end of each word."""
    spans = [found.span() for start, end in pieces for found in _WORD.finditer(text, start, end)]
    if len(spans) < RUN:
        return np.empty(0, np.uint32), np.empty((0, 2), np.int64)
    words = [text[start:end].lower() for start, end in spans]
    values = {word: xxhash.xxh64_intdigest(word.encode()) for word in set(words)}
    single = np.fromiter((values[word] for word in words), np.uint64, len(words))
    rolled = np.zeros(len(single) - RUN + 1, np.uint64)
    for step in range(RUN):
        rolled = rolled * np.uint64(0x9E3779B97F4A7C15) + single[step : step + len(rolled)]
    rolled ^= rolled >> np.uint64(29)
    mixed = rolled * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(32)
    return mixed.astype(np.uint32), np.array(spans)
