"""The native table against the plain one."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.kernels.library import available
from llmkit.text import native_words
from llmkit.text.english.special import special_chunks
from llmkit.text.english.words import split_chunk
from llmkit.text.native_words import NativeWordTable
from llmkit.text.word_table import WordTable
from tests.text.clean_texts import TEXTS

pytestmark = pytest.mark.skipif(not available(), reason="the native library is not built")


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_the_native_table_finds_the_words_of_the_plain_one(texts: list[str]) -> None:
    native, plain = NativeWordTable(1 << 10), WordTable()
    for text in texts:
        found, expected = native.words(text), plain.words(text)
        assert found.hashes.tolist() == expected.hashes.tolist()
        assert found.lengths.tolist() == expected.lengths.tolist()
        assert found.facts.tolist() == expected.facts.tolist()
        assert native.count_words(text) == len(expected)


def test_every_white_space_of_python_parts_chunks() -> None:
    spaces = [chr(code) for code in range(0x110000) if chr(code).isspace()]
    text = "x".join(spaces) + "\u200b\u2060\ufeffy"
    assert len(NativeWordTable().words(text)) == len(WordTable().words(text)) == len(spaces)


@pytest.mark.parametrize("most_slots", [8, 64])
def test_a_full_table_starts_afresh_or_grows(most_slots: int) -> None:
    table, plain = NativeWordTable(8, most_slots), WordTable()
    texts = ["a b c", "d e f", " ".join(f"w{i}" for i in range(50)), "a w3"]
    for text in texts:
        assert table.words(text).hashes.tolist() == plain.words(text).hashes.tolist()


def test_a_table_that_grows_keeps_what_it_knows() -> None:
    table, plain = NativeWordTable(8, 1 << 12), WordTable()
    texts = [
        " ".join(f"w{number}-{number % 7}" for number in range(start, start + 60))
        for start in range(0, 900, 45)
    ]
    for text in (*texts, *texts):
        assert table.words(text).hashes.tolist() == plain.words(text).hashes.tolist()
    assert table._index.num_chunks == len(plain)  # none was split twice


def test_lone_surrogates_and_nul_bytes_come_through() -> None:
    text = "a \ud800b c\x00d \x00"
    assert NativeWordTable().words(text).hashes.tolist() == WordTable().words(text).hashes.tolist()


@cache
def table_of_all() -> NativeWordTable:
    """One table for many texts, as a run has."""
    return NativeWordTable()


ALPHABET = "abeMrXDSU1é0'’\"“()[],.;:!?-–—…~<>=/*^+$%&#_@Ёяß²°F中☃€\u0301ſstmk"


@settings(deadline=None, max_examples=500)
@given(st.lists(st.text(st.sampled_from(ALPHABET), min_size=1, max_size=9), max_size=40))
def test_chunks_of_letters_marks_and_numbers_are_split_as_python_splits_them(chunks: list[str]) -> None:
    text = " ".join(chunks)
    native, plain = table_of_all().words(text), WordTable().words(text)
    assert native.lengths.tolist() == plain.lengths.tolist()
    assert native.hashes.tolist() == plain.hashes.tolist()
    assert native.facts.tolist() == plain.facts.tolist()


@pytest.mark.parametrize("marks", ["{}", "a{}b", "1{}", "{}.", "({}"])
def test_every_character_of_unicode_is_split_as_python_splits_it(marks: str) -> None:
    chunks = [marks.format(chr(code)) for code in range(0x3100) if not chr(code).isspace()]
    text = " ".join(chunks)
    native, plain = table_of_all().words(text), WordTable().words(text)
    assert native.hashes.tolist() == plain.hashes.tolist()
    assert native.facts.tolist() == plain.facts.tolist()


def test_special_chunks_are_split_natively() -> None:
    chunks = [*special_chunks(), *(f"({chunk})," for chunk in special_chunks())]
    text = " ".join(chunks)
    assert table_of_all().words(text).hashes.tolist() == WordTable().words(text).hashes.tolist()


@pytest.mark.parametrize("chunk", ["http://a.bc/d.e", "x.example.org", "1.2.3.4", "a" * 300, "中" * 257])
def test_addresses_and_long_chunks_are_left_to_python(chunk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def split(one: str) -> list[str]:
        asked.append(one)
        return split_chunk(one)

    monkeypatch.setattr(native_words, "split_chunk", split)
    table = NativeWordTable()
    found = table.words(f"some plain words, (and) {chunk} don't")
    assert asked == [chunk]
    assert (
        found.hashes.tolist() == WordTable().words(f"some plain words, (and) {chunk} don't").hashes.tolist()
    )
