"""Words as arrays: against the words one by one."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from xxhash import xxh3_64_intdigest

from llmkit.text import word_table
from llmkit.text.word_table import STOP_WORDS, Fact, WordTable, facts_of
from tests.text.clean_texts import TEXTS
from tests.text.peer_rules import words_of

TABLE = WordTable()


@settings(deadline=None)
@given(TEXTS)
def test_the_arrays_say_what_the_words_say(text: str) -> None:
    words, found = words_of(text), TABLE.words(text)
    assert found.lengths.tolist() == [len(word) for word in words]
    assert found.hashes.tolist() == [xxh3_64_intdigest(word.encode()) for word in words]
    assert found.facts.tolist() == [facts_of(word) for word in words]
    assert TABLE.count_words(text) == len(words) == len(found)


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
