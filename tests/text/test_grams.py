"""N-grams: numpy and native, against tuples of words."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.kernels.library import available
from llmkit.text.grams import Grams
from llmkit.text.word_table import WordTable
from tests.text.clean_texts import TEXTS
from tests.text.peer_rules import grams, leaping, words_of

TABLE = WordTable()
WAYS = [False, True] if available() else [False]


@pytest.mark.parametrize("native", WAYS)
@settings(deadline=None)
@given(TEXTS, st.integers(1, 6))
def test_grams_are_counted_as_tuples_are(native: bool, text: str, n: int) -> None:
    words = words_of(text)
    found, listed = Grams(TABLE.words(text), use_native=native), grams(words, n)
    counted = Counter(listed)
    gram, often = counted.most_common(1)[0] if counted else ((), 0)
    assert found.count(n) == len(listed)
    assert found.most_often(n) == often
    assert found.commonest(n) == (len("".join(gram)), often)
    assert found.most_letters(n) == max((len("".join(one)) for one in listed), default=0)
    assert found.leaping(n) == leaping(words, n)
    inside: set[int] = set()
    for place, one in enumerate(listed):
        if one in listed[:place]:
            inside.update(range(place, place + n))
    assert found.covered_later(n) == sum(len(words[place]) for place in inside)


@settings(deadline=None)
@given(TEXTS, st.integers(2, 5))
def test_what_a_reader_counts_lies_inside_shorter_grams_that_repeat(text: str, n: int) -> None:
    found = Grams(TABLE.words(text))
    for longer in range(n, 9):
        assert found.leaping(longer) <= found.covered_later(n)


def test_repeats_worked_by_hand() -> None:
    found = Grams(TABLE.words("a b a b a b c"), use_native=False)
    repeated = found.repeated(2)  # ab ba ab ba ab bc
    assert repeated is not None
    assert repeated.later.tolist() == [False, False, True, True, True, False]
    assert repeated.all.tolist() == [True, True, True, True, True, False]
    assert found.leaping(2) == 4  # ab, ba, ab!, ab!: reading on after each
    assert found.covered_later(2) == 4
    assert found.repeated(5) is None
