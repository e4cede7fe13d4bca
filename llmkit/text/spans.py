"""Words in a row that were there before: windows of n words, and the spans of a text that they cover.

A word is what stands between white space, letter by letter; in `char` units every character but white space
is one. The number of a window is a polynomial in those of its words modulo 2^64, well mixed: among a hundred
million windows two that differ have one number with a probability of 3e-4.

N words, W = N - n + 1 windows.
"""

import re

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.library import available
from llmkit.kernels.text import find_elements
from llmkit.text.exact_pieces import TextPiece
from llmkit.text.shingles import Hashes, ShingleUnit, mix
from llmkit.text.word_table import hash_bytes

Mask = NDArray[np.bool_]
Places = NDArray[np.int64]
_FACTOR = 0xD6E8FEB86659FD93
"""Odd, so that its powers have inverses modulo 2^64."""
_NO_DIGEST = (0, 0)
_ELEMENTS = {"word": re.compile(r"\S+"), "char": re.compile(r"\S")}


def elements(text: str, unit: ShingleUnit, *, use_native: bool | None = None) -> tuple[Hashes, Places]:
    """The words of a text: their numbers (N,), and where each begins and ends in characters (N, 2).

    Args:
        use_native: whether the native library finds them; None: where there is one.
    """
    if not (available() if use_native is None else use_native):
        found = [match.span() for match in _ELEMENTS[unit].finditer(text)]
        hashes = [hash_bytes(text[start:stop].encode(errors="surrogatepass")) for start, stop in found]
        return np.array(hashes, np.uint64), np.array(found, np.int64).reshape(-1, 2)
    encoded = text.encode(errors="surrogatepass")
    numbers, places = find_elements(encoded, characters=unit == "char")
    if len(encoded) != len(text):  # from bytes to characters
        starts = (np.frombuffer(encoded, np.uint8) & 0xC0) != 0x80
        before = np.concatenate(([0], np.cumsum(starts)))
        places = before[places]
    return numbers, places


def windows(numbers: Hashes, length: int) -> Hashes:
    """The number of each window of `length` neighbours. (W,)"""
    if len(numbers) < length:
        return np.empty(0, np.uint64)
    factors = np.full(len(numbers), pow(_FACTOR, -1, 1 << 64), np.uint64)
    factors[0] = 1
    sums = np.empty(len(numbers) + 1, np.uint64)
    sums[0] = 0
    np.cumsum(numbers * np.cumprod(factors), out=sums[1:])  # the words, each over a power of the factor
    found = sums[length:] - sums[:-length]
    factors[1:] = _FACTOR
    found *= np.cumprod(factors)[: len(found)]
    return mix(found)


def covered(again: Mask, length: int) -> Mask:
    """The words inside windows that are marked. (W,) to (N,)"""
    edges = np.zeros(len(again) + length, np.int64)
    edges[:-length] += again
    edges[length:] -= again
    inside: Mask = np.cumsum(edges)[:-1] > 0
    return inside


def spans_of(text: str, places: Places, inside: Mask) -> list[TextPiece]:
    """The spans of a text that some of its words are, to be cut out with the white space behind them.

    White space with more line breaks than there are before a span stays: its paragraph ends there.

    Args:
        places: of the words, in characters (N, 2).
        inside: which words (N,).
    """
    edges = np.flatnonzero(np.diff(inside, prepend=False, append=False)).reshape(-1, 2)
    found = []
    for first, behind in edges.tolist():
        start, stop = int(places[first, 0]), int(places[behind - 1, 1])
        if behind == len(places):
            found.append(TextPiece(start, stop, len(text), _NO_DIGEST))
            continue
        following = int(places[behind, 0])
        before = text.count("\n", int(places[first - 1, 1]), start) if first else 0
        stays = first > 0 and text.count("\n", stop, following) > before
        found.append(TextPiece(start, stop, stop if stays else following, _NO_DIGEST))
    return found
