"""Where each token stands in the text: exact byte and character ranges.

A token of a byte-level vocabulary may end inside a character. Its byte range is exact; its character range
covers every character it touches, as `tokenizers` has it.
"""

from dataclasses import dataclass

import numpy as np
import tokenizers
from numpy.typing import NDArray

from llmkit.formats.token_documents import TokenIds
from llmkit.tokens.tokenizer import Tokenizer

Ranges = NDArray[np.int64]  # (N, 2): start, end


@dataclass(frozen=True)
class Spans:
    """The ranges of N tokens in one text, start included and end not."""

    bytes: Ranges
    chars: Ranges

    def __len__(self) -> int:
        return len(self.chars)


def token_spans(
    tokenizer: Tokenizer,
    backend: tokenizers.Tokenizer,
    text: str,
    ids: TokenIds,
    known: dict[int, bytes] | None = None,
) -> Spans:
    """The ranges of `ids`, which `backend` made of `text`; no bos or eos among them.

    The tokens' own bytes, put end to end, are the text where the vocabulary is byte-level; a leading space
    that the tokenizer adds (Llama 2) is left out of the first range. Where a normaliser changed the text, the
    offsets that `tokenizers` tracked are used.

    `known` holds bytes of ids met before; those of this text are added to it.
    """
    content = text.encode()
    known = {} if known is None else known
    parts = [
        known[token] if token in known else known.setdefault(token, tokenizer.token_bytes(token))
        for token in ids.tolist()
    ]
    joined = b"".join(parts)
    extra = len(joined) - len(content)
    if extra in (0, 1) and joined == b" " * extra + content:
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64) - extra
        byte_ranges = _adjacent(np.maximum(ends, 0))
        if len(content) == len(text):
            return Spans(byte_ranges, byte_ranges)
        return Spans(byte_ranges, _chars_of_bytes(content, byte_ranges))
    offsets = backend.encode(text, add_special_tokens=False).offsets
    char_ranges = np.array(offsets, dtype=np.int64).reshape(-1, 2)
    return Spans(_bytes_of_chars(content, char_ranges), char_ranges)


def pad_spans(spans: Spans, text: str, *, bos: bool, eos: bool) -> Spans:
    """The same with the empty ranges of bos and eos at the ends of the text."""

    def padded(ranges: Ranges, end: int) -> Ranges:
        before = np.zeros((int(bos), 2), np.int64)
        after = np.full((int(eos), 2), end, np.int64)
        return np.concatenate([before, ranges, after])

    return Spans(padded(spans.bytes, len(text.encode())), padded(spans.chars, len(text)))


def _adjacent(ends: NDArray[np.int64]) -> Ranges:
    """Ranges that follow each other, from where each ends."""
    return (
        np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)
        if len(ends)
        else np.zeros((0, 2), np.int64)
    )


def _char_starts(content: bytes) -> NDArray[np.bool_]:
    """Which bytes of UTF-8 begin a character."""
    return (np.frombuffer(content, np.uint8) & 0xC0) != 0x80


def _chars_of_bytes(content: bytes, ranges: Ranges) -> Ranges:
    """Character ranges that cover byte ranges."""
    begun = np.concatenate([[0], np.cumsum(_char_starts(content))])  # characters begun before byte i
    upto = np.concatenate([begun[1:], begun[-1:]])  # and at byte i too
    starts = np.where(ranges[:, 0] < len(content), upto[ranges[:, 0]] - 1, begun[-1])
    ends = begun[ranges[:, 1]]
    return np.stack([np.minimum(starts, ends), ends], axis=1)


def _bytes_of_chars(content: bytes, ranges: Ranges) -> Ranges:
    """Byte ranges of character ranges."""
    starts = np.concatenate([np.flatnonzero(_char_starts(content)), [len(content)]])
    return starts[ranges]
