"""The rules of english/words.py as the native library takes them: what characters are, and lists of words."""

import re
from functools import cache
from unicodedata import category

import numpy as np

from llmkit.kernels.text import SplitRules
from llmkit.text.english import characters as rules
from llmkit.text.english.special import special_chunks
from llmkit.text.punctuation import SYMBOLS, TERMINAL
from llmkit.text.word_table import STOP_WORDS

_BLOCK = 1 << 8
_CODE_POINTS = 0x110000
_PATTERNS = (
    *(rules.FIRST, rules.LAST, f"[{rules.SIGNS}]", rules.STOPPABLE, f"[{rules.UPPER}]"),
    *(rules.DOT_LEFT, rules.DOT_RIGHT, rules.LETTER, r"[^\W_]"),
)
"""Of one character: the first nine bits of CharacterClass in native/split.cpp."""
_KNOWN = 1 << 15


@cache
def split_rules() -> SplitRules:
    """The rules of this process; no character is known at first."""
    classes = np.zeros(_CODE_POINTS, np.uint16)
    return SplitRules(classes, special_chunks(), (*rules.UNITS, *rules.LONG_CURRENCIES), STOP_WORDS)


def learn_characters(chunk: str) -> None:
    """Say of the characters of a chunk, and their neighbours, what they are."""
    classes = split_rules().classes
    for block in {ord(character) // _BLOCK for character in chunk}:
        start = block * _BLOCK
        if not classes[start]:
            classes[start : start + _BLOCK] = [class_of(chr(code)) for code in range(start, start + _BLOCK)]


def class_of(character: str) -> int:
    """The bits of a character."""
    bits = _KNOWN
    for place, pattern in enumerate(_compiled()):
        bits |= (pattern.fullmatch(character) is not None) << place
    others = (
        character.isalpha(),
        character in SYMBOLS,
        character in TERMINAL,
        category(character)[0] == "P",
        _domain().fullmatch(character) is not None,
        _currency().fullmatch(character) is not None,
    )
    for place, holds in enumerate(others, len(_PATTERNS)):
        bits |= holds << place
    return bits


@cache
def _compiled() -> tuple[re.Pattern[str], ...]:
    return tuple(map(re.compile, _PATTERNS))


@cache
def _domain() -> re.Pattern[str]:
    return re.compile(rules.DOMAIN)


@cache
def _currency() -> re.Pattern[str]:
    return re.compile(rules.CURRENCY)
