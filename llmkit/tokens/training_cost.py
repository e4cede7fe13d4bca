"""What training a tokenizer takes, before it takes it: memory and time, from a sample of the text."""

from collections.abc import Iterable
from dataclasses import dataclass

from llmkit.tokens.compare import utf8_length
from llmkit.tokens.config import TokenizerType
from llmkit.tokens.growth import Growth, measure_growth

BASE_BYTES = 64 << 20  # Python, the libraries, texts on their way
PART_BYTES = 200  # Python's own, for each part that a sample holds beside its text
TEXT_BYTES_PER_SECOND = 2_500_000  # counting words, on one core


@dataclass(frozen=True)
class _Rates:
    """Of training, for each symbol of the different words. Measured on prose, code, Japanese and a text in
    388 languages, where they lay within a fifth of each other."""

    bytes: int
    seconds: float


_RATES: dict[TokenizerType, _Rates] = {"bpe": _Rates(160, 4e-6), "unigram": _Rates(500, 18e-6)}


def measure_symbols(kind: TokenizerType, texts: Iterable[str]) -> Growth:
    """The growth of a sample in what this kind is made of: bytes, or characters."""
    return measure_growth(texts, utf8_length if kind == "bpe" else len)


def training_memory_bytes(kind: TokenizerType, growth: Growth, text_bytes: int, held_bytes: int) -> int:
    """The most memory that training holds.

    Args:
        kind: of tokenizer.
        growth: of a sample of the text.
        text_bytes: all text to train on.
        held_bytes: of it, what is held in memory meanwhile.
    """
    return BASE_BYTES + _RATES[kind].bytes * growth.symbols_of(text_bytes) + held_bytes


def training_seconds(kind: TokenizerType, growth: Growth, text_bytes: int, cores: int) -> float:
    """How long training takes, about."""
    counting = text_bytes / (TEXT_BYTES_PER_SECOND * cores)
    return counting + _RATES[kind].seconds * growth.symbols_of(text_bytes)
