"""Special chunks: as spaCy 3.8's blank English pipeline splits them."""

import pytest

from llmkit.text.english.special import special_chunks
from llmkit.text.english.whole import WHOLE

SPACY = {
    "don't": (2, 3),
    "Don’t": (2, 3),
    "can't've": (2, 3, 3),
    "shouldntve": (6, 2, 2),
    "cannot": (3, 3),
    "I'ma": (1, 2, 1),
    "10a.m.": (2, 4),
    "7pm": (1, 2),
    "C'mon": (3, 2),
    "therellve": (5, 2, 2),
}


@pytest.mark.parametrize(("chunk", "lengths"), SPACY.items(), ids=SPACY)
def test_a_special_chunk_has_the_words_that_spacy_finds(chunk: str, lengths: tuple[int, ...]) -> None:
    assert special_chunks()[chunk] == lengths


def test_the_words_of_every_special_chunk_fill_it() -> None:
    assert [chunk for chunk, lengths in special_chunks().items() if sum(lengths) != len(chunk)] == []
    assert all(length > 0 for lengths in special_chunks().values() for length in lengths)


def test_what_the_native_library_can_hold_is_enough() -> None:
    assert max(map(len, special_chunks())) <= 16  # kLongestSpecial of native/split.cpp
    assert max(map(len, special_chunks().values())) <= 4  # a row of its parts


def test_those_of_one_word_are_the_whole_ones() -> None:
    assert {chunk for chunk, lengths in special_chunks().items() if len(lengths) == 1} == WHOLE


def test_there_are_as_many_as_spacy_has_without_white_space() -> None:
    assert len(special_chunks()) == 1343


@pytest.mark.parametrize(
    "chunk", ["DON'T", "dOn't", "10AM", "100am", "13pm", "5pm.", "wentnt", "thosewillve", "shed", "isn'tve"]
)
def test_other_capitals_and_words_are_not_special(chunk: str) -> None:
    assert chunk not in special_chunks()
