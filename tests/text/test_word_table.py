"""Words as arrays: against the words one by one."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from llmkit.text import word_table
from llmkit.text.word_table import STOP_WORDS, Fact, WordTable, facts_of, hash_bytes
from tests.text.clean_texts import TEXTS
from tests.text.peer_rules import words_of

TABLE = WordTable()


@settings(deadline=None)
@given(TEXTS)
def test_the_arrays_say_what_the_words_say(text: str) -> None:
    words, found = words_of(text), TABLE.words(text)
    assert found.lengths.tolist() == [len(word) for word in words]
    assert found.hashes.tolist() == [hash_bytes(word.encode()) for word in words]
    assert found.facts.tolist() == [facts_of(word) for word in words]
    assert TABLE.count_words(text) == len(words) == len(found)


def test_hashes_worked_by_hand() -> None:
    def folded(a: int, b: int) -> int:
        high, low = divmod(a * b, 1 << 64)
        return high ^ low

    start = folded(9 ^ 0x2D358DCCAA6C78A5, 0x8BB84B93962EACC9)
    once = folded(start ^ 0x6867666564636261, 0x9E3779B97F4A7C15)  # abcdefgh, the first letter lowest
    twice = folded(once ^ 0x69, 0x9E3779B97F4A7C15)
    assert hash_bytes(b"abcdefghi") == folded(twice ^ 0x4B33A62ED433D4A3, 0x4D5A2DA51DE1AA47)


def test_words_that_differ_have_hashes_that_do() -> None:
    words = [
        f"{first}{second}{'x' * size}".encode() for first in "ab\0" for second in "cd\0" for size in range(40)
    ]
    assert len({hash_bytes(word) for word in words}) == len(set(words)) == 360
    bits = [hash_bytes(b"%d" % number).bit_count() for number in range(4096)]
    assert abs(sum(bits) / 4096 - 32) < 0.25  # four sigma: half of 64 bits, each as often 0 as 1


def test_facts_of_words_worked_by_hand() -> None:
    assert facts_of("the") == Fact.ALPHABETIC | 1
    assert facts_of("with") == Fact.ALPHABETIC | 1 << STOP_WORDS.index("with")
    assert facts_of("The") == Fact.ALPHABETIC
    assert facts_of("12") == 0
    assert facts_of(".") == Fact.SYMBOL | Fact.ENDS_SENTENCE | Fact.PUNCTUATION
    assert facts_of("...") == Fact.SYMBOL | Fact.PUNCTUATION
    assert facts_of("#") == Fact.SYMBOL | Fact.PUNCTUATION
    assert facts_of("$") == Fact.SYMBOL


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[WordTable]:
    monkeypatch.setattr(word_table, "MOST_CHUNKS", 5)
    yield WordTable()


def test_a_table_that_starts_afresh_finds_the_same_words(small: WordTable) -> None:
    texts = ["a b c d", "e f g a", "h, i! a", "a b"] * 3
    assert [small.words(text).hashes.tolist() for text in texts] == [
        WordTable().words(text).hashes.tolist() for text in texts
    ]
    assert len(small) <= 9


def test_a_lone_surrogate_is_a_word_like_another() -> None:
    assert len(TABLE.words("a \ud800 b")) == 3
