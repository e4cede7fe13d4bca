"""The native table against the plain one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.kernels.library import available
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
    assert len(table._starts) == len(plain)  # none was split twice


def test_lone_surrogates_and_nul_bytes_come_through() -> None:
    text = "a \ud800b c\x00d \x00"
    assert NativeWordTable().words(text).hashes.tolist() == WordTable().words(text).hashes.tolist()
