"""How many sentences lines hold, by the end marks among their words: spaCy's `sentencizer` (MIT)."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from llmkit.text.choose_words import word_table
from llmkit.text.word_table import Fact, WordTable

_BREAK = "\ufdd0"  # a code point that is no character, between lines: it follows an end mark as a word does


def count_sentences(lines: Sequence[str]) -> int:
    """Sentences of lines, at least one a line: one begins at a word, no mark, that comes after an end mark.

    `He left. "Why?" she said.` is three: an end mark inside quotes ends a sentence as well.
    """
    words = word_table().words(f" {_BREAK} ".join(lines))
    if not len(words):
        return len(lines)
    telling = (words.facts & (Fact.ENDS_SENTENCE | Fact.PUNCTUATION)) != Fact.PUNCTUATION
    ends = (words.facts[telling] & Fact.ENDS_SENTENCE) != 0
    breaks = words.hashes[telling] == _break_hash()
    starts = ends[:-1] & ~ends[1:] & ~breaks[1:]
    return len(lines) + int(np.count_nonzero(starts))


@cache
def _break_hash() -> np.uint64:
    hashed: np.uint64 = WordTable().words(_BREAK).hashes[0]
    return hashed
