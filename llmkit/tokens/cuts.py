"""Where a long text can be cut without changing a single id.

Encoding goes piece by piece: the pre-tokenizer cuts the text, the model never looks across. So a cut is safe
where the pre-tokenizer always cuts, whatever stands around, and where nothing to the left of it looks ahead
past it. For the regular expressions below that holds between a letter and a following space or line feed:

- every alternative that takes a letter goes on with letters only (`\\p{L}+`, or a letter class and an
  apostrophe ending), and a space or line feed can only start a piece, so the boundary is always there;
- the only look-ahead is `\\s+(?!\\S)`, inside a run of white space, which the cut never splits;
- there is no look-behind, so the right part is read the same from a fresh start;
- NFC never composes across a following ASCII space or line feed.

A tokenizer is cut only when it is one of these; otherwise the text stays whole.
"""

import json
import re
from collections.abc import Iterator
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
_CANDIDATE = re.compile(r"[^\W\d_](?=[ \n])")  # a letter (checked again below) before a space or line feed


def can_cut(backend: tokenizers.Tokenizer) -> bool:
    """Whether texts may be cut at `safe_cut` positions before this backend encodes them."""
    if getattr(backend.model, "dropout", None):
        return False
    if backend.truncation is not None or backend.padding is not None:
        return False
    if backend.normalizer is not None and _state(backend.normalizer) != {"type": "NFC"}:
        return False
    if not _pattern(backend) & PROVEN_PATTERNS:
        return False
    return not any(
        token.single_word or token.rstrip or re.search(r"[^\W\d_][ \n]", token.content)
        for token in backend.get_added_tokens_decoder().values()
    )


def cut(text: str, size: int) -> Iterator[str]:
    """Parts of `text` of about `size` characters, cut only at safe positions; one part if there is none.

    Only for backends for which `can_cut` holds. The parts joined are the text.
    """
    start = 0
    while len(text) - start > size:
        position = _safe_cut(text, start + size)
        if position is None:
            break
        yield text[start:position]
        start = position
    yield text[start:]


def _safe_cut(text: str, position: int) -> int | None:
    """The first safe position at or after `position`, or None."""
    for match in _CANDIDATE.finditer(text, position):
        if text[match.start()].isalpha():
            return match.end()
    return None


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
