"""Texts whose duplicates are known, and the plain way to compare them: sets of Python strings."""

import random
import re
import unicodedata
from collections.abc import Sequence

WORDS = [
    f"{a}{b}{c}" for a in ("ba", "ko", "mi", "tu", "ser") for b in ("l", "n", "rt") for c in "aeiouy"
] + [
    *("the", "of", "and", "to", "in", "a", "is", "that", "for", "it"),
]
SPACELESS = "[\u3041-\u30ff\u3400-\u9fff\u0e01-\u0e4e]"


def plain_words(text: str) -> list[str]:
    """Lower case without accents: letters, digits, underscores, vowel signs; Han, kana, Thai one by one."""
    letters = "".join(c for c in unicodedata.normalize("NFD", text) if not "\u0300" <= c <= "\u036f")
    spaced = "".join(
        f" {c} " if re.match(SPACELESS, c) else c if _is_of_a_word(c) else " "
        for c in unicodedata.normalize("NFC", letters)
    )
    return spaced.lower().split()


def _is_of_a_word(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.category(character) in ("Mn", "Mc")


def plain_shingles(text: str, ngram: int = 5) -> set[tuple[str, ...]]:
    """The shingles of a text; all its words where there are fewer."""
    words = plain_words(text)
    if len(words) < ngram:
        return {tuple(words)} if words else set()
    return {tuple(words[at : at + ngram]) for at in range(len(words) - ngram + 1)}


def plain_jaccard(first: str, second: str, ngram: int = 5) -> float:
    """Shared shingles over all."""
    one, other = plain_shingles(first, ngram), plain_shingles(second, ngram)
    return len(one & other) / max(1, len(one | other))


def random_text(rng: random.Random, num_words: int = 120) -> str:
    """Words in no order, with a full stop and a capital now and then."""
    words = [rng.choice(WORDS) for _ in range(num_words)]
    return " ".join(f"{word.title()}." if rng.random() < 0.1 else word for word in words)


def edited(text: str, rng: random.Random, share: float) -> str:
    """Some of its words replaced by numbers that no other text has."""
    return " ".join(f"x{rng.getrandbits(40)}" if rng.random() < share else word for word in text.split())


def rewritten(text: str, rng: random.Random) -> str:
    """The same words: in other case, with other spaces and stops."""
    words = [rng.choice((word, word.upper(), word.strip("."), f"{word},")) for word in text.split()]
    return "".join(word + rng.choice((" ", "\n", "  ", "\t")) for word in words)


def pairs_at(
    rng: random.Random, similarity: float, count: int, num_words: int = 150
) -> list[tuple[str, str]]:
    """Pairs of texts whose Jaccard similarity is about the one asked for."""
    # a replaced word takes five shingles of each text with it: s = k / (2 - k), k = (1 - share) ** 5
    kept = 2 * similarity / (1 + similarity)
    share = 1 - kept ** (1 / 5)
    texts = [random_text(rng, num_words) for _ in range(count)]
    return [(text, edited(text, rng, share)) for text in texts]


def adjusted_rand(first: Sequence[object], second: Sequence[object]) -> float:
    """The adjusted Rand index of two clusterings (Hubert and Arabie 1985)."""
    from collections import Counter

    def chosen(counts: Counter[object]) -> float:
        return sum(count * (count - 1) / 2 for count in counts.values())

    both = chosen(Counter(zip(first, second, strict=True)))
    one, other = chosen(Counter(first)), chosen(Counter(second))
    expected = one * other / (len(first) * (len(first) - 1) / 2)
    return (both - expected) / ((one + other) / 2 - expected)
