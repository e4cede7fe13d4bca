"""Words that are kept whole."""

import pytest

from llmkit.text.english.whole import WHOLE
from llmkit.text.english.words import split_chunk


@pytest.mark.parametrize("word", ["e.g.", "U.S.", "Mr.", "a.m.", ":)", "o'clock"])
def test_what_spacy_keeps_whole_is_here(word: str) -> None:
    assert split_chunk(word) == [word]


def test_each_of_them_is_one_word() -> None:
    assert [word for word in WHOLE if split_chunk(word) != [word]] == []
