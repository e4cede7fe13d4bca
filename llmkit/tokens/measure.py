"""What a vocabulary makes of the words it was made from: compression, and the pieces that nothing needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tokenizers import decoders

from llmkit.formats.documents import Document
from llmkit.tokens.compare import Tally, utf8_length
from llmkit.tokens.encode import EncodeOptions, encode_pairs
from llmkit.tokens.reservoir import Part
from llmkit.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class WordMeasure:
    """All words of a text, each as often as it occurs."""

    tokens: int
    bytes: int
    """After normalising."""
    used: frozenset[int]
    """The ids that occur."""


def measure_words(tokenizer: Tokenizer, words: Mapping[str, int]) -> WordMeasure:
    """Encode each different word once.

    Args:
        tokenizer: a byte-level BPE or unigram tokenizer that cuts text into these words.
        words: spelt as its model spells them, with how often each occurs.
    """
    tokenize = tokenizer.backend.model.tokenize
    is_byte_level = isinstance(tokenizer.backend.decoder, decoders.ByteLevel)
    tokens = total = 0
    used: set[int] = set()
    for word, count in words.items():
        ids = [token.id for token in tokenize(word)]
        used.update(ids)
        tokens += count * len(ids)
        total += count * (len(word) if is_byte_level else utf8_length(word))
    return WordMeasure(tokens, total, frozenset(used))


def measure_parts(tokenizer: Tokenizer, parts: Iterable[Part]) -> dict[str, Tally]:
    """Tokens and bytes of some parts by their source."""
    tallies: dict[str, Tally] = {}
    documents = (Document(part.source, part.text, part.source, 0) for part in parts)
    for document, ids in encode_pairs(tokenizer, documents, EncodeOptions()):
        tallies.setdefault(document.id, Tally()).add(document.text, len(ids))
    return tallies
