"""Where a text can be cut without changing a single id.

Encoding goes piece by piece: the pre-tokenizer cuts the text, the model never looks across. So a cut is safe
where the pre-tokenizer always cuts, whatever stands around, and where nothing to the left of it looks ahead
past it. For the regular expressions below that holds in two places:

- between a letter or digit and a following ASCII symbol or blank: an alternative that takes a letter goes on
  with letters only, one that takes a digit with digits;
- between anything but white space and a following space: a space can only start a piece or go on with a run
  of white space.

The only look-ahead is `\\s+(?!\\S)`, inside a run of white space, which neither cut splits; there is no
look-behind, so the right part is read the same from a fresh start; and NFC never composes a character with a
following ASCII one. Only letters that Unicode has had for long count: Python and the library may know
different versions.

A tokenizer is cut only when it is one of these; otherwise the text stays whole.
"""

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tokenizers

from llmkit.tokens.patterns import GPT2, GPT4, QWEN2

PROVEN_PATTERNS = frozenset(
    {
        GPT2,
        GPT4,
        QWEN2,
        # tiktoken's later spellings of the first two
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
        r"|\s*[\r\n]|\s+(?!\S)|\s+",
    }
)
_WORD = "0-9A-Za-zÀ-ÖØ-öø-ʯѐ-ҁҊ-ԯ"


@dataclass(frozen=True)
class Places:
    """The safe places before some symbols, as two readings of one rule."""

    symbols: str
    """ASCII characters, as a class of a regular expression is written."""

    @functools.cached_property
    def place(self) -> re.Pattern[str]:
        """Matches nothing, at a safe place."""
        return re.compile(rf"(?=[{self.symbols}])(?:(?<=[{_WORD}])|(?<=\S)(?= ))")

    @functools.cached_property
    def unit(self) -> re.Pattern[str]:
        """Matches from one safe place to the next: splitting at `place`, in half the time."""
        other = rf"[^{self.symbols}]*"
        return re.compile(rf"[\s\S]{other}(?:(?<![{_WORD}])(?:(?<=\s)|(?! ))[{self.symbols}]{other})*")


ANY_SYMBOL = Places(r"\x00-/:-@\[-`{-~")
ONLY_BLANKS = Places(r" \n")


def safe_places(backend: tokenizers.Tokenizer) -> Places | None:
    """Where texts may be cut before this backend encodes them; None: nowhere."""
    if getattr(backend.model, "dropout", None):
        return None
    if backend.truncation is not None or backend.padding is not None:
        return None
    if backend.normalizer is not None and _state(backend.normalizer) != {"type": "NFC"}:
        return None
    if not _pattern(backend) & PROVEN_PATTERNS:
        return None
    added = [
        token
        for token in backend.get_added_tokens_decoder().values()
        if not (token.special and backend.encode_special_tokens)
    ]
    if any(token.single_word or token.rstrip for token in added):
        return None
    for places in (ANY_SYMBOL, ONLY_BLANKS):
        if not any(places.place.search(token.content) for token in added):
            return places
    return None


def cut(text: str, size: int, places: Places) -> Iterator[str]:
    """Parts of `text` of about `size` characters, cut only at safe places; one part if there is none."""
    start = 0
    while len(text) - start > size:
        found = places.place.search(text, start + max(size, 1))
        if found is None:
            break
        yield text[start : found.start()]
        start = found.start()
    yield text[start:]


def _pattern(backend: tokenizers.Tokenizer) -> set[str]:
    """The splitting expression of a pre-tokenizer that does no more than split, as a set of none or one."""
    if backend.pre_tokenizer is None:
        return set()
    match _state(backend.pre_tokenizer):
        case {"type": "ByteLevel", "use_regex": True, "add_prefix_space": False}:
            return {GPT2}
        case {
            "type": "Sequence",
            "pretokenizers": [split, {"type": "ByteLevel", "use_regex": False, "add_prefix_space": False}],
        }:
            return _split_pattern(split)
        case split:
            return _split_pattern(split)


def _split_pattern(step: object) -> set[str]:
    match step:
        case {
            "type": "Split",
            "pattern": {"Regex": str(pattern)},
            "behavior": "Isolated",
            "invert": False,
        }:
            return {pattern}
    return set()


def _state(part: Any) -> object:
    """One part of a tokenizer as its JSON says."""
    return json.loads(part.__getstate__())
