"""Whether a chunk between spaces is what OCR makes of noise: the garbage rules of Taghva et al. (SPIE 4307,
2001).

Read through re-implementations; the bounds of each are in the names below. Chunks that look like an address
or a path are left alone: nothing that was printed.
"""

import re
import unicodedata

LONGEST = 40
SAME_IN_A_ROW = 4
CONSONANTS_IN_A_ROW = 6
VOWELS_IN_A_ROW = 6
DISTINCT_SIGNS = 3
LEAST_LETTERS = {3: 0.32, 4: 0.24, 5: 0.39}
"""Least share of letters and digits by length; 0.5 for longer ones, one and two characters are exempt."""

_SAME = re.compile(rf"(\D)\1{{{SAME_IN_A_ROW - 1}}}")
_CONSONANTS = re.compile(rf"[b-df-hj-np-tv-xz]{{{CONSONANTS_IN_A_ROW},}}", re.IGNORECASE)
_VOWELS = re.compile(rf"[aeiou]{{{VOWELS_IN_A_ROW},}}", re.IGNORECASE)
_SIGN = re.compile(r"[^\w\s]|_")
_EDGES = "\"'“”‘’«»()[]{}.,;:!?…-–—*"
_ADDRESS = re.compile(r"(?:\w+:)?//|www\.|[^\s@]+@[^\s@]+\.\w|/?[\w.-]+/|<[^<>]*>", re.IGNORECASE)
_CASES = re.compile(r"[a-z][A-Z]")
_RULED = re.compile(r"[-=_*.~#•·+]+|…+")


def is_garbage(chunk: str) -> bool:
    """Whether a chunk looks like no word that was printed."""
    core = chunk.strip(_EDGES)
    if len(core) < 3 or _RULED.fullmatch(chunk):
        return False
    if core.isalpha():
        return _is_odd_letters(core)
    if _is_address(core) or core[0].isdigit():
        return len(core) > LONGEST and not _is_address(core)
    letters = sum(map(str.isalnum, core))
    if letters < LEAST_LETTERS.get(len(core), 0.5) * len(core):
        return True
    inside = set(_SIGN.findall(core)) - set("-'’–—/&")
    return len(inside) >= DISTINCT_SIGNS or _is_odd_letters(core) or mixes_scripts(core)


def _is_address(core: str) -> bool:
    return _ADDRESS.match(core) is not None


def _is_odd_letters(core: str) -> bool:
    if len(core) > LONGEST or _SAME.search(core):
        return True
    if core.isascii() and not core.isupper():
        return bool(_CONSONANTS.search(core) or _VOWELS.search(core) or len(_CASES.findall(core)) > 2)
    return not core.isascii() and mixes_scripts(core)


def mixes_scripts(word: str) -> bool:
    """Whether letters of Latin, Greek and Cyrillic stand in one word."""
    if word.isascii():
        return False
    scripts = {unicodedata.name(letter, "").split(" ")[0] for letter in word if letter.isalpha()}
    return len(scripts & {"LATIN", "GREEK", "CYRILLIC"}) > 1
